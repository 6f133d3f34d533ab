"""Commands that people run against a cluster, with their own kubeconfig and their own rights.

::

    rotate.py incident.py   what is said on the command line, and what is printed
      driving.py              asks for a rotation and follows it to the last pod
        looking.py              reads the objects that a picture is made of
        picture.py              pure: who consumes a secret, and which pods have its old value
        timeline.py             pure: what happened between two pictures, and what is left to do

They read no Secret and no store: what they tell is in objects that whoever may view the namespaces
may read. What they change are two annotations of ExternalSecrets; the operator does the rest.
"""
