"""Reading the stores of one ExternalSecret, and bringing its Secret to what they hold."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from syncret.api.externalsecret import ExternalSecret, ExternalSecretStatus, Source
from syncret.api.keys import ObjectKey
from syncret.cache import Cache
from syncret.clock import Clock
from syncret.reconcile.assemble import Assembled
from syncret.reconcile.contexts import Contexts
from syncret.reconcile.keeping import Brought, Mended, Targets
from syncret.reconcile.plan import TIMED, Reason
from syncret.reconcile.previous import Keeping, rotated
from syncret.reconcile.reading import Reader
from syncret.reconcile.report import Synced, same_versions, sources_of, with_times
from syncret.reconcile.shape import PLAIN
from syncret.reconcile.templating import Made, Templating

#: What comes to all ExternalSecrets of a ClusterExternalSecret at the same time.
_TOGETHER: Final = frozenset({Reason.FIRST, Reason.EDITED, Reason.STORE})


class Refresher:
    """Reads and writes once, for one ExternalSecret at a time or for many."""

    def __init__(
        self,
        *,
        cache: Cache,
        contexts: Contexts,
        reader: Reader,
        templating: Templating,
        targets: Targets,
        clock: Clock,
        asked_at: Callable[[ObjectKey], float],
    ) -> None:
        """``asked_at``: since when a running key is wanted, by the monotonic clock."""
        self._cache = cache
        self._contexts = contexts
        self._reader = reader
        self._templating = templating
        self._targets = targets
        self._clock = clock
        self._asked_at = asked_at

    async def refresh(
        self,
        external_secret: ExternalSecret,
        status: ExternalSecretStatus,
        reason: Reason,
        mended: Mended,
    ) -> Synced | ExternalSecretStatus:
        """Reads and writes; only the status if nothing is new, as the versions tell.

        ``mended``: the Secret as it is known. Raises SyncretError; the Secret is then as it was.
        """
        await self._contexts.wait_for_labels(external_secret)
        patient = reason is Reason.DUE or (
            # Those that one ClusterExternalSecret makes are wanted together: one call for all.
            reason in _TOGETHER and external_secret.key in self._cache.stamped
        )
        # What is due is in order otherwise: the same versions make the same Secret.
        due = reason in TIMED
        read = partial(
            self._reader.read, external_secret, asked_at=self._asked_at(external_secret.key)
        )
        fetched = await read(patient=patient, known=status.sources if due else ())
        self._reader.usable(external_secret)  # once more: it may have been taken away meanwhile
        told = sources_of(external_secret, fetched)
        if due and same_versions(external_secret, status, fetched):
            return replace(status, sources=with_times(status.sources, told))
        if fetched.lacks_values:
            fetched = await read(patient=False)  # one of several is new: it takes all of them
            self._reader.usable(external_secret)
        assembled = await self._templating.assemble(external_secret, fetched)
        sources = with_times(sources_of(external_secret, fetched), told, status.sources)
        made, brought = await self._bring(external_secret, status, assembled, mended, sources)
        certificates = status.certificates
        if not made.is_same:
            certificates = await self._templating.certificates(made.data)
        return Synced(
            secret=brought.secret,
            digests=brought.digests,
            change=brought.change,
            sources=sources,
            missing=assembled.missing,
            certificates=certificates if brought.digests else (),
            left_out=brought.left_out,
            template_input=made.input_hash,
            template_from=made.from_hash,
        )

    async def _bring(
        self,
        external_secret: ExternalSecret,
        status: ExternalSecretStatus,
        assembled: Assembled,
        mended: Mended,
        sources: tuple[Source, ...],
    ) -> tuple[Made, Brought]:
        """Renders, if there is anything new to render, and writes."""
        self._targets.refuse_missing(external_secret, assembled)
        if self._targets.leaves_nothing(external_secret, assembled):
            made = Made(assembled.data, PLAIN)
        else:
            making = await self._templating.make(external_secret, assembled.data)
            if mended.in_order and making.is_done(status, mended.secret):
                return making.same, self._targets.left(external_secret, status, mended.secret)
            made = await making.finish()
            self._reader.usable(external_secret)  # once more: rendering takes time
        brought = await self._targets.bring(
            external_secret,
            replace(assembled, data=made.data),
            known=mended.secret,
            shape=made.shape,
            keeping=Keeping(
                status,
                rotated(external_secret, status, sources, template_from=made.from_hash),
                self._clock.wall(),
            ),
        )
        return made, brought
