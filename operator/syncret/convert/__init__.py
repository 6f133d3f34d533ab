"""``syncret convert``: manifests of External Secrets Operator written as Syncret's.

What has an exact equivalent is written. What has none is left out, said in a comment of the output
and in the report, with the reason: nothing is guessed. Nothing here is imported by the operator.
"""
