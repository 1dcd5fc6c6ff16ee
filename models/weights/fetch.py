"""Where weights come from: a file here, an address, or a name that timm or torchvision knows."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from urllib.parse import urlparse

import torch

from ...registry import UnavailableError, UserError
from ...registry.download import download, sha256_of
from ...registry.names import did_you_mean

# The convention of torchvision and timm: `resnet34-333f7ec4.pth` has a SHA-256 that begins so.
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.\w+$")


def find_file(source: str, sha256: str | None = None) -> tuple[Path, str]:
    """The file that a source stands for, downloaded where it is an address or a name; and how far it was verified.

    Args:
        source: a file; an https address; `torchvision/ResNet34_Weights.IMAGENET1K_V1`; `timm/resnet34.a1_in1k`.
        sha256: what the file's SHA-256 must be, or begin with.

    Raises:
        UserError: no such name, a download that fails, or a file with another SHA-256.
    """
    if source.startswith("torchvision/"):
        source = torchvision_entry(source).url
    if source.startswith("timm/"):
        path = _from_hub(source)
        promised = None
    elif source.startswith(("https://", "http://")):
        promised = _promised(source)
        path = _downloaded(source, sha256 or promised)
    else:
        path = Path(source).expanduser()
        promised = _promised(source)
    if not path.exists():
        raise UserError(f"weights: {path.absolute()} does not exist{_meant(source)}")
    if path.is_dir():
        raise UserError(f"weights: {path.absolute()} is a folder, not a file")
    return path, _verify(path, sha256, promised, strict=source.startswith("http"))


def _meant(source: str) -> str:
    """What a name that is no file may have been meant to be."""
    if re.fullmatch(r"\w+_Weights\.\w+", source):
        return f": for torchvision's weights of that name write torchvision/{source}"
    if source.startswith(("hf-hub:", "hf_hub:")) or re.fullmatch(r"\w+\.\w+_in\w+", source):
        return f": for timm's weights of that name write timm/{source.rpartition('/')[2].removeprefix('hf-hub:')}"
    return ""


def torchvision_entry(source: str):
    """The entry of torchvision's list of weights that `torchvision/...` names."""
    from torchvision.models import get_model_weights, get_weight, list_models

    name = source.removeprefix("torchvision/")
    try:
        return get_weight(name)
    except (ValueError, KeyError, AttributeError) as error:
        if name in list_models():
            near = f" Of that model there are {', '.join(f'`{entry}`' for entry in get_model_weights(name))}."
        else:
            near = did_you_mean(name, {str(entry) for model in list_models() for entry in get_model_weights(model)})
        raise UserError(f"weights: torchvision has no weights called `{name}`.{near}") from error


def _from_hub(source: str) -> Path:
    """The file of weights that timm knows by name, fetched from the Hugging Face hub and kept in its own folder."""
    import timm

    name = source.removeprefix("timm/")
    try:
        known = timm.models.get_pretrained_cfg(name)  # pyright: ignore[reportPrivateImportUsage]
    except RuntimeError:
        known = None
    if known is None or not (known.hf_hub_id or known.url):
        near = did_you_mean(name, timm.list_pretrained())
        raise UserError(f"weights: timm has no weights called `{name}`.{near}")
    if not known.hf_hub_id:
        return _downloaded(str(known.url), _promised(str(known.url)))
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    tried = [known.hf_hub_filename] if known.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
    problem: Exception | None = None
    for file in tried:
        try:
            return Path(hf_hub_download(known.hf_hub_id, file))
        except Exception as error:  # no connection, no such file, no permission: each has a class of its own
            problem = error
            if not isinstance(error, EntryNotFoundError) or isinstance(error, LocalEntryNotFoundError):
                break  # the next file would fail for the same reason
    reason = str(problem).strip().partition("\n")[0]
    raise UserError(
        f"weights: {source} cannot be fetched from the hub ({reason}). Without a connection, get "
        f"https://huggingface.co/{known.hf_hub_id}/resolve/main/{tried[0]} elsewhere, and name the file: weights=<file>"
    ) from problem


def _downloaded(url: str, sha256: str | None) -> Path:
    """The file of an address, in torch's own folder for such; downloaded if it is not there yet."""
    name = Path(urlparse(url).path).name
    if _promised(name) is None:  # many files are called `model.safetensors`
        name = f"{hashlib.sha256(url.encode()).hexdigest()[:12]}_{name}"
    place = Path(torch.hub.get_dir()) / "checkpoints" / name
    if place.is_file():
        return place
    if url.startswith("http://") and sha256 is None:
        raise UserError(f"weights: {url} is not encrypted: give weights.sha256, or an https address")
    try:
        download(url, place, sha256)
    except UnavailableError as error:
        raise UnavailableError(
            f"weights: {error}. Put the file there by other means: {place}\nor name another: weights=<file>"
        ) from error
    return place


def _promised(source: str) -> str | None:
    """The beginning of the SHA-256 that a file's name tells; a date of eight digits is none."""
    found = _HASH_IN_NAME.search(source)
    return found[1] if found and not re.fullmatch(r"(19|20)\d{6}", found[1]) else None


def _verify(path: Path, sha256: str | None, promised: str | None, strict: bool) -> str:
    """Compare a file with the SHA-256 that is asked for, or that its name tells."""
    wanted = (sha256 or promised or "").lower()
    found = sha256_of(path)
    if wanted and found.startswith(wanted):
        return f"SHA-256 {found[:8]}..., {'as asked for' if sha256 else 'as its name says'}"
    if not wanted:
        return f"SHA-256 {found}, not verified: weights.sha256 would"
    said = "weights.sha256" if sha256 else "its name"
    if sha256 or strict:
        raise UserError(
            f"{path} has the SHA-256 {found}, {said} says {wanted}: it is damaged, or another file. Delete it and "
            "fetch it again."
        )
    return f"SHA-256 {found[:8]}..., though its name says {wanted}: damaged, or another file?"
