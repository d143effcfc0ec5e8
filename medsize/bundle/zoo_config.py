"""Config and metadata of a bundle of MONAI's model zoo, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from monai.bundle import ConfigComponent, ConfigParser
from pydantic import BaseModel, Field, Strict, ValidationError

from medsize.bundle.parts import read_object
from medsize.model_errors import found_and_expected

__all__ = ["ChannelData", "ZooConfig", "first_reason", "is_plain", "open_zoo_config"]

KEPT_PLAIN = (bool, int, float, str)


class ChannelData(BaseModel):
    """Description of an input or output in metadata."""

    type: str = ""
    format: str = ""
    num_channels: Annotated[int, Strict(), Field(ge=1)] | None = None
    """``None``: not stated."""
    channel_def: dict[str, str] = {}
    """Name of each channel, by its number."""


class _NetworkData(BaseModel):
    inputs: dict[str, ChannelData] = {}
    outputs: dict[str, ChannelData] = {}


class _Metadata(BaseModel):
    network_data_format: _NetworkData = _NetworkData()


@dataclass(frozen=True)
class ZooConfig:
    """Inference config of a bundle, and its metadata."""

    file: Path
    metadata: Path
    parser: ConfigParser
    image: ChannelData
    """The only input."""
    pred: ChannelData
    """The only output."""

    def plain(self, where: str) -> Any:
        """
        Return a part of the config with its references and expressions resolved, and no component made.

        Args:
            where: id of the part; ``None`` is returned if there is none.

        Raises:
            ValueError: when an expression in it cannot be evaluated, or a reference leads back to itself.
        """
        return self._plain(where, ())

    def _plain(self, where: str, referred: tuple[str, ...]) -> Any:
        """Return :meth:`plain` of a part that references at the ids ``referred`` led to."""
        value = self.parser.get(where)
        if isinstance(value, str) and value.startswith("@") and value[1:].replace("::", "#") in self.parser:
            if where in referred:
                raise ValueError(
                    f"{self.file}: {where} is '{value}', which leads back to itself: "
                    f"{' → '.join([*referred[referred.index(where) :], where])}. Correct it."
                )
            return self._plain(value[1:].replace("::", "#"), (*referred, where))
        if isinstance(value, dict):
            return {key: self._plain(f"{where}#{key}", referred) for key in value}
        if isinstance(value, list):
            return [self._plain(f"{where}#{i}", referred) for i in range(len(value))]
        if not (isinstance(value, str) and value.startswith("$")):
            return value
        try:
            return self.parser.get_parsed_content(where)
        except Exception as e:  # it is the bundle's own code
            raise ValueError(f"{self.file}: {where} is '{value}', which fails: {first_reason(e)}. Correct it.") from e

    def transforms(self, where: str) -> list[dict[str, Any]]:
        """
        Return the definitions of the transforms of a ``Compose``, or of a list; of a missing one none.

        Raises:
            ValueError: when it is something else.

        A transform that code makes has the name of its class alone.
        """
        section = self.plain(where)
        steps = section.get("transforms") if isinstance(section, dict) else section
        if section is not None and not isinstance(steps, list):
            raise ValueError(f"{self.file}: {where} is {section!r:.60}, expected a Compose with a list of transforms.")
        described = [step if isinstance(step, dict) else {"_target_": type(step).__name__} for step in steps or ()]
        return [step for step in described if not ConfigComponent(step).is_disabled()]


def open_zoo_config(folder: Path) -> ZooConfig:
    """
    Read the inference config and the metadata of a bundle.

    Args:
        folder: folder of the bundle.

    Raises:
        ValueError: when it has none, they are broken, or there is more than one image or segmentation.
    """
    config = next(
        (f for ending in ("json", "yaml", "yml") if (f := folder / f"configs/inference.{ending}").is_file()), None
    )
    metadata = folder / "configs" / "metadata.json"
    if config is None or not metadata.is_file():
        raise ValueError(
            f"{folder}: found no configs/inference.json or .yaml with a metadata.json, expected a bundle of the zoo."
        )
    try:
        data = _Metadata.model_validate(read_object(metadata)).network_data_format
    except ValidationError as e:
        raise ValueError(f"{metadata}: {found_and_expected(e.errors()[0])} Correct it.") from e
    inputs, outputs = data.inputs, data.outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            f"{metadata}: found the inputs {', '.join(inputs) or 'none'} and outputs {', '.join(outputs) or 'none'}, "
            "expected one image and one segmentation."
        )
    read_object(config)
    parser = ConfigParser()
    parser.read_config(str(config))
    parser.read_meta(str(metadata))
    parser["bundle_root"] = str(folder)
    (image,), (pred,) = inputs.values(), outputs.values()
    return ZooConfig(config, metadata, parser, image, pred)


def is_plain(value: Any) -> bool:
    """Return whether a value holds numbers and texts alone."""
    if isinstance(value, Mapping):
        return all(map(is_plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    return value is None or isinstance(value, KEPT_PLAIN)


def first_reason(error: BaseException) -> str:
    """Return the first line of the error that MONAI's config parser reports as another one."""
    error = error.__cause__ or error
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
