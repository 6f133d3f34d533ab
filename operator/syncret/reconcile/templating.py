"""From what was read to the Secret as it is to be, by ``spec.target.template``.

Templates from ConfigMaps and Secrets are read when they are needed, and nothing of them is kept but
a digest. What tells of a change (:mod:`syncret.watch`) makes an ExternalSecret *suspect*: its next
round reads them and compares. The digest stands in the status, so a change while nobody watched is
seen at the first round after a start.

A rendering has a digest, too, of all that it depends on. While it is the same nothing is rendered:
a keystore has random bytes in it, and a new one would restart what uses it.
"""

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from syncret.api.externalsecret import Certificate, ExternalSecret, ExternalSecretStatus
from syncret.api.keys import ObjectKey
from syncret.api.secret import ManagedSecret
from syncret.api.template import NO_TEMPLATE, SourceKind, TemplateFrom
from syncret.digest import Digester
from syncret.errors import (
    DuplicateKey,
    KubeError,
    KubeNotFound,
    MetadataInvalid,
    TemplateInvalid,
    TemplateNotFound,
    TypeMismatch,
)
from syncret.kube.resources import CONFIG_MAPS, SECRETS, Resource
from syncret.reconcile.assemble import Assembled, assemble
from syncret.reconcile.certificates import certificates_of
from syncret.reconcile.shape import (
    PLAIN,
    TLS,
    Shape,
    check_data,
    check_metadata,
    check_type,
)
from syncret.reconcile.wanted import Fetched
from syncret.template.pool import Entry, Pool

#: Another number renders everything anew after an upgrade, which may restart workloads.
_FORM: Final = b"1"

_TEMPLATE: Final = "spec.target.template"

_RESOURCES: Final[Mapping[SourceKind, Resource]] = {"ConfigMap": CONFIG_MAPS, "Secret": SECRETS}

#: Texts of the referenced keys, by kind, name and key. None: not there.
Texts = Mapping[tuple[SourceKind, str, str], str | None]


class SourceReader(Protocol):
    """What is needed of the Kubernetes client."""

    async def get(
        self, resource: Resource, *, name: str, namespace: str = ""
    ) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Made:
    """The Secret as it is to be, and the digests of what it was made from."""

    data: Mapping[str, bytes] = field(repr=False)
    shape: Shape
    input_hash: str = ""
    from_hash: str = ""
    #: It is what is there already, and ``data`` says nothing.
    is_same: bool = False


@dataclass(slots=True)
class _Looked:
    """What was seen of the templates' objects. ``suspect``: they may have changed since."""

    generation: int
    digest: str
    suspect: bool = False


class Templating:
    """Makes Secrets by their templates."""

    def __init__(self, *, kube: SourceReader, pool: Pool, digester: Digester) -> None:
        self._kube = kube
        self._pool = pool
        self._digester = digester
        self._looked: dict[ObjectKey, _Looked] = {}

    def suspect(self, key: ObjectKey) -> None:
        """Templates that an ExternalSecret takes from elsewhere may have changed."""
        looked = self._looked.get(key)
        if looked is not None:
            looked.suspect = True

    def forget(self, key: ObjectKey) -> None:
        self._looked.pop(key, None)

    async def look(self, external_secret: ExternalSecret) -> str:
        """The digest of the templates from elsewhere; "" without any.

        Where they cannot be read it is another than any before, and the attempt tells why.
        """
        if not external_secret.template.sources:
            return ""
        looked = self._looked.get(external_secret.key)
        if (
            looked is not None
            and not looked.suspect
            and looked.generation == external_secret.generation
        ):
            return looked.digest
        try:
            return (await self._sources(external_secret))[1]
        except KubeError:
            return "?"

    async def assemble(self, external_secret: ExternalSecret, fetched: Fetched) -> Assembled:
        """The data, as ``reconcile.assemble`` makes them."""
        if not external_secret.transforms:
            return assemble(external_secret, fetched)
        # It waits for the process that renders, and must not keep the event loop from it.
        renderer = _Renderer(self._pool, asyncio.get_running_loop())
        return await asyncio.to_thread(assemble, external_secret, fetched, renderer=renderer)

    async def certificates(self, data: Mapping[str, bytes]) -> tuple[Certificate, ...]:
        """When the certificates among the values expire. Raises RendererUnavailable."""
        return await certificates_of(self._pool, data)

    async def make(self, external_secret: ExternalSecret, data: Mapping[str, bytes]) -> "Making":
        """Begins with data that were read. Raises TemplateNotFound, KubeError."""
        template = external_secret.template
        if template is NO_TEMPLATE or template == NO_TEMPLATE:
            return Making(self, external_secret, data, {}, "", "")
        texts, from_hash = await self._sources(external_secret)
        input_hash = self._digester.publish(
            f"template/{external_secret.key.namespace}/{external_secret.key.name}",
            {
                **{f"value {key}": self._digester.value(value) for key, value in data.items()},
                "template": repr(template).encode(),
                "from": from_hash.encode(),
                "form": _FORM,
            },
        )
        return Making(self, external_secret, data, texts, input_hash, from_hash)

    async def _sources(self, external_secret: ExternalSecret) -> tuple[Texts, str]:
        """The referenced texts, and their digest. Raises KubeError."""
        template, key = external_secret.template, external_secret.key
        if not template.sources:
            return {}, ""
        generation = external_secret.generation
        # What changes from here on makes it suspect again.
        self._looked[key] = _Looked(generation, "?")
        texts: dict[tuple[SourceKind, str, str], str | None] = {}
        try:
            for kind, name in template.sources:
                wanted = [
                    item.key
                    for one in template.template_from
                    if (one.kind, one.name) == (kind, name)
                    for item in one.items
                ]
                body = await self._body(kind, key.namespace, name)
                for item in wanted:
                    texts[kind, name, item] = _text(body, item, encoded=kind == "Secret")
        except KubeError:
            self._looked.pop(key, None)
            raise
        digest = self._digester.publish(
            f"template-from/{key.namespace}/{key.name}",
            {
                f"{kind} {name} {item}": b""
                if text is None
                else self._digester.value(text.encode())
                for (kind, name, item), text in texts.items()
            },
        )
        looked = self._looked.get(key)
        if looked is not None:
            looked.digest = digest
        return texts, digest

    async def _body(self, kind: SourceKind, namespace: str, name: str) -> Mapping[str, Any]:
        try:
            return await self._kube.get(_RESOURCES[kind], namespace=namespace, name=name)
        except KubeNotFound:
            return {}

    async def render(
        self, external_secret: ExternalSecret, data: Mapping[str, bytes], texts: Texts
    ) -> Made:
        template, key = external_secret.template, external_secret.key
        if not template.renders:
            await self._check(external_secret, data)
            return Made(data, PLAIN if template == NO_TEMPLATE else Shape(type=template.type))
        slots = _slots(external_secret, texts)
        outputs = await self._pool.render(
            [slot.entry for slot in slots],
            data,
            seed=self._digester.derive(f"salt/{key.namespace}/{key.name}"),
        )
        parts = _filled(slots, outputs)
        labels = _text_values(parts["Labels"], "labels")
        annotations = _text_values(parts["Annotations"], "annotations")
        check_metadata(labels, annotations)
        own = {
            name: text.encode("utf-8", "surrogateescape") for name, text in parts["Data"].items()
        }
        made = own if template.replaces else {**data, **own}
        check_data(made)
        await self._check(external_secret, made)
        return Made(
            made, Shape(template.type, labels, annotations, has_metadata=template.has_metadata)
        )

    async def _check(self, external_secret: ExternalSecret, data: Mapping[str, bytes]) -> None:
        kind = external_secret.template.type
        if external_secret.policy.shared:
            return  # the rest of it may come from others
        check_type(kind, data)
        if kind != TLS:
            return
        try:
            await self._pool.check_tls(certificate=data["tls.crt"], key=data["tls.key"])
        except TemplateInvalid as error:
            raise TypeMismatch(
                f"In a Secret of the type {kind}, {error.message.rstrip('.')}: correct the value, "
                "or the template."
            ) from None


class _Renderer:
    """Renders for a thread that is not the event loop's."""

    def __init__(self, pool: Pool, loop: asyncio.AbstractEventLoop) -> None:
        self._pool = pool
        self._loop = loop

    def render_each(
        self, template: str, variables: Sequence[Mapping[str, str]], *, path: str
    ) -> list[str]:
        rendering = self._pool.render_each(path, template, variables)
        return asyncio.run_coroutine_threadsafe(rendering, self._loop).result()


class Making:
    """A Secret that is being made."""

    def __init__(
        self,
        templating: Templating,
        external_secret: ExternalSecret,
        data: Mapping[str, bytes],
        texts: Texts,
        input_hash: str,
        from_hash: str,
    ) -> None:
        self._templating = templating
        self._external_secret = external_secret
        self._data = data
        self._texts = texts
        self.input_hash = input_hash
        self.from_hash = from_hash

    def is_done(self, status: ExternalSecretStatus, secret: ManagedSecret | None) -> bool:
        """Whether a Secret that is in order was made from the same, so that it stays as it is."""
        template = self._external_secret.template
        return (
            bool(self.input_hash)
            and secret is not None
            and status.template_input == self.input_hash
            and template.has_metadata == (secret.metadata is not None)
        )

    @property
    def same(self) -> Made:
        """The digests of what is not rendered again."""
        return Made({}, PLAIN, self.input_hash, self.from_hash, is_same=True)

    async def finish(self) -> Made:
        """Renders. Raises TemplateError, MetadataInvalid, TypeMismatch and other DataErrors."""
        made = await self._templating.render(self._external_secret, self._data, self._texts)
        return Made(made.data, made.shape, self.input_hash, self.from_hash)


@dataclass(frozen=True, slots=True)
class _Slot:
    """A template to render, and what its text is for; ``name``: "" where it gives the names."""

    entry: Entry
    part: str
    name: str


def _slots(external_secret: ExternalSecret, texts: Texts) -> list[_Slot]:
    """In the order in which they are rendered."""
    template = external_secret.template
    slots: list[_Slot] = []
    for number, source in enumerate(template.template_from):
        slots += _from(source, f"{_TEMPLATE}.templateFrom[{number}]", texts)
    for part, path, pairs in (
        ("Labels", f"{_TEMPLATE}.metadata.labels", template.labels),
        ("Annotations", f"{_TEMPLATE}.metadata.annotations", template.annotations),
        ("Data", f"{_TEMPLATE}.data", template.data),
    ):
        slots += [_Slot(Entry(f'{path}["{name}"]', text), part, name) for name, text in pairs]
    return slots


def _from(source: TemplateFrom, path: str, texts: Texts) -> Sequence[_Slot]:
    if source.kind is None:
        return [_Slot(Entry(f"{path}.literal", source.literal, pairs=True), source.part, "")]
    slots = []
    for item in source.items:
        text = texts.get((source.kind, source.name, item.key))
        place = f'{source.kind} "{source.name}"'
        if text is None:
            raise TemplateNotFound(
                f'There is no {place} with the key "{item.key}" in the namespace, as text, which '
                f"{path} takes a template from: create it, or correct the name or the key."
            )
        entry = Entry(
            f'{path} ({place}, key "{item.key}")',
            text,
            pairs=item.pairs,
            private=source.kind == "Secret",
        )
        slots.append(_Slot(entry, source.part, "" if item.pairs else item.key))
    return slots


def _filled(
    slots: Sequence[_Slot], outputs: Sequence[str | list[tuple[str, str]]]
) -> dict[str, dict[str, str]]:
    """The names and texts of each part. Raises DuplicateKey."""
    parts: dict[str, dict[str, str]] = {"Data": {}, "Labels": {}, "Annotations": {}}
    origin: dict[tuple[str, str], str] = {}
    for slot, output in zip(slots, outputs, strict=True):
        pairs = [(slot.name, output)] if isinstance(output, str) else output
        for name, text in pairs:
            if name in parts[slot.part]:
                # The name may have been made of a value.
                named = f' ("{name}")' if slot.name else ""
                raise DuplicateKey(
                    f"{origin[slot.part, name]} and {slot.entry.path} both give the same "
                    f"{'key' if slot.part == 'Data' else slot.part.lower()}{named}: leave one of "
                    "them out or rename it."
                )
            parts[slot.part][name] = text
            origin[slot.part, name] = slot.entry.path
    return parts


def _text_values(texts: Mapping[str, str], what: str) -> Mapping[str, str]:
    try:
        for name, text in texts.items():
            (name + text).encode()
    except UnicodeError:
        raise MetadataInvalid(
            f"{_TEMPLATE} gives {what} that are not text: put | b64encode behind the value."
        ) from None
    return texts


def _text(body: Mapping[str, Any], key: str, *, encoded: bool) -> str | None:
    """The text under a key of a ConfigMap or Secret; None if it is not there, or no text."""
    value = (body.get("data") or {}).get(key)
    if not isinstance(value, str) or not encoded:
        return value if isinstance(value, str) else None
    try:
        return base64.b64decode(value).decode()
    except (binascii.Error, UnicodeError):
        return None
