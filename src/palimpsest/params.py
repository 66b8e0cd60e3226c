"""params.yaml → typed, closed, frozen parameters; each fault is one line: where and what."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from palimpsest.core.plug_ins import MARKS, kinds, nearest
from palimpsest.faults import Fault

PLUG_IN_FOLDERS = tuple(MARKS)
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


class Closed(BaseModel):
    """A section that knows all its keys and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _relative(path: str) -> str:
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ValueError("must be a path below the project's root, so that a clone finds it")
    return path


def _decreases(asked: tuple[float, ...]) -> tuple[float, ...]:
    if len(set(asked)) < len(asked) or any(share == 0 or share >= 1 for share in asked):
        raise ValueError("must be different shares below 1, none of them 0")
    return asked


ProjectPath = Annotated[str, AfterValidator(_relative)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Documents(Closed):
    """The original domain P as JSON Lines of {"text", "meta": {"pile_set_name"}}."""

    train: ProjectPath = Field(description="documents to pretrain on and to replay")
    held_out: ProjectPath = Field(description="documents that only measure; never trained on")
    max_documents: int | None = Field(
        None, gt=0, description="take this many documents of each file"
    )


class Sessions(Closed):
    """The new domain D as JSON Lines of episodes, in time order."""

    path: ProjectPath = Field(description="episodes with turns of speaker and text")
    held_out_episodes: int = Field(
        4, gt=0, description="this many last episodes only measure learning"
    )
    episode_characters: int | None = Field(
        None, gt=0, description="first whole lines of each training episode, up to so many"
    )


class Questions(Closed):
    """The questions Q to memorise."""

    path: ProjectPath = Field(description="JSON Lines of {question, answer}")


class Tokenizer(Closed):
    """The byte-level BPE tokenizer that all embedded sizes share."""

    vocab_size: int = Field(2048, ge=258, description="entries, end-of-text included")


class Corpora(Closed):
    """Where the text comes from."""

    original: Documents
    new: Sessions
    questions: Questions
    tokenizer: Tokenizer


class Size(Closed):
    """One GPT-NeoX shape."""

    hidden_size: int = Field(gt=0, description="width of the residual stream")
    layers: int = Field(gt=0, description="transformer blocks")
    heads: int = Field(gt=0, description="attention heads; divides hidden_size")

    @model_validator(mode="after")
    def _heads_divide(self) -> Size:
        if self.hidden_size % self.heads:
            raise ValueError(f"heads {self.heads} does not divide hidden_size {self.hidden_size}")
        return self


class Pretraining(Closed):
    """How the embedded sizes are pretrained on the original domain."""

    context_length: int = Field(128, gt=1, description="tokens the model can see")
    n_tokens: int = Field(gt=0, description="training tokens")
    batch_sequences: int = Field(8, gt=0, description="sequences per step")
    learning_rate: float = Field(gt=0, description="peak rate")
    warmup_fraction: Share = Field(0.05, description="share of the steps that warm up")
    final_learning_rate_fraction: Share = Field(
        0.1, description="where the cosine ends, as a share of the peak"
    )
    weight_decay: float = Field(0.1, ge=0, description="decoupled, per unit of the rate")
    checkpoints: int = Field(4, gt=0, description="log-spaced checkpoints kept, the last included")


class Models(Closed):
    """The base models."""

    pretraining: Pretraining
    sizes: dict[str, Size]


class Optimizer(Closed):
    """The optimiser whose update direction is followed."""

    kind: Literal["adamw", "sgd"] = "adamw"
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.95, ge=0, lt=1)
    epsilon: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.0, ge=0, description="decoupled, per unit of the rate")
    clip_norm: float | None = Field(1.0, gt=0, description="null: no clipping")
    layer_slope: float = Field(
        0.0, ge=-1, le=1, description="tilts the rate linearly from first to last layer"
    )


class Rates(Closed):
    """A grid of learning rates, evenly spaced in the logarithm."""

    lowest: float = Field(1e-5, gt=0)
    highest: float = Field(1e-1, gt=0)
    points: int = Field(13, ge=2)

    @model_validator(mode="after")
    def _rising(self) -> Rates:
        if self.lowest >= self.highest:
            raise ValueError(f"lowest {self.lowest:g} is not below highest {self.highest:g}")
        return self


class Probe(Closed):
    """What is measured on a base before training: the learning-rate landscape."""

    batches: int = Field(8, ge=1, description="batches over which medians and quartiles are taken")
    warm_steps: int = Field(0, ge=0, description="steps that warm the moments before the probe")
    decreases: Annotated[tuple[float, ...], AfterValidator(_decreases)] = Field(
        (0.01, 0.05, 0.1), description="asked relative decreases of the loss in one step"
    )
    rates: Rates = Rates()
    landscape_replay: tuple[Share, ...] = Field(
        (0.0,), description="replay ratios at which the whole landscape is drawn"
    )
    original_tokens: int = Field(
        4096, gt=0, description="held-out tokens of P per point of the landscape"
    )


class Checkpoints(Closed):
    """Which steps of an epoch keep their weights; the last one always does."""

    kind: Literal["final", "log", "even", "steps"] = "final"
    count: int | None = Field(None, gt=0, description="how many (log, even)")
    steps: tuple[int, ...] | None = Field(None, description="which (steps)")

    @model_validator(mode="after")
    def _complete(self) -> Checkpoints:
        if (self.kind in ("log", "even")) != (self.count is not None):
            raise ValueError("count belongs to kinds log and even")
        if (self.kind == "steps") != (self.steps is not None):
            raise ValueError("steps belongs to kind steps")
        return self


class Recall(Closed):
    """What is measured at the checkpoints of a run."""

    every: int = Field(1, gt=0, description="measure every k-th piece")
    held_out_tokens: int = Field(16384, gt=0, description="held-out tokens per corpus")
    drift_tokens: int = Field(2048, gt=0, description="tokens per corpus for KL(base ‖ now)")
    per_token: bool = Field(False, description="keep the loss of every token of the pieces too")
    checkpoints: Literal["all", "final"] = "all"


class Evals(Closed):
    """Benchmarks by lm-eval."""

    task_dir: ProjectPath = Field("data/tasks", description="folder of task files")
    tasks: tuple[str, ...] = Field(min_length=1, description="task names")
    limit: int | None = Field(None, gt=0, description="items per task; null: all")
    batch_size: int = Field(32, gt=0)
    seeds: tuple[Seed, ...] = Field((0,), description="seeds whose final weights are evaluated")


class Fits(Closed):
    """Which laws are fitted, and how intervals are made."""

    laws: tuple[str, ...] = Field(description="files of core/laws")
    bootstrap: int = Field(1000, gt=0, description="resamples behind each interval")
    confidence: float = Field(0.95, gt=0, lt=1, description="of the intervals of laws")
    seed: Seed = 0
    tolerance_nats: float = Field(0.05, gt=0, description="forgetting that counts as prevented")


class Report(Closed):
    """The page at the end."""

    title: str = Field("Palimpsest", description="heading of the page")


class Params(Closed):
    """All that params.yaml may contain."""

    corpora: Corpora
    models: Models
    optimizer: Optimizer = Optimizer()
    probe: Probe = Probe()
    phase: dict[str, Any] = Field({}, description="defaults of every phase")
    experiments: dict[str, dict[str, Any]] = Field(min_length=1, description="axes of the runs")
    recall: Recall = Recall()
    evals: Evals
    fits: Fits
    report: Report = Report()


def load(path: Path) -> Params:
    """Read and check a parameter file.

    Raises Fault with one line per fault, each naming the place, the fault and the nearest spelling.
    """
    raw = _read(path)
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        raise Fault("\n".join(_lines(error, str(path), Params))) from None
    _check_names(params, path)
    laws = [name.replace("_", "-") for name in kinds("laws")]
    for law in params.fits.laws:
        if law not in laws:
            raise Fault(f"{path}: fits.laws: {law!r} is unknown{nearest(law, laws)}")
    return params


def parse(model: type[BaseModel], values: dict[str, Any], where: str) -> BaseModel:
    """Validate one section against its type; a Fault says where it stands."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise Fault("\n".join(_lines(error, where, model, joint="."))) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.load(path.read_text("utf-8"), _Reader)
    except (FileNotFoundError, IsADirectoryError):
        raise Fault(f"{path}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise Fault(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    except yaml.YAMLError as error:
        raise Fault(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise Fault(f"{path}: expected sections such as corpora: and experiments:")
    return _numbers(raw)


class _Reader(yaml.SafeLoader):
    """Reads YAML and refuses a key written twice, of which PyYAML keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # SafeLoader says where a list or mapping stands as a key
            if key.value in seen:
                fault = f"{key.value!r} is written twice"
                raise yaml.constructor.ConstructorError(None, None, fault, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _numbers(node: Any) -> Any:
    """Turn `1e-4`, which YAML 1.1 reads as text and DVC as a number, into a number."""
    if isinstance(node, dict):
        return {key: _numbers(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_numbers(value) for value in node]
    if isinstance(node, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", node):
        return float(node)
    return node


def _check_names(params: Params, path: Path) -> None:
    for section, names in (
        ("models.sizes", params.models.sizes),
        ("experiments", params.experiments),
    ):
        for name in names:
            if not SAFE_NAME.fullmatch(str(name)):
                raise Fault(
                    f"{path}: {section}.{name}: a name holds only letters, digits and . _ -, "
                    "begins with a letter or digit, and has at most 40 characters"
                )


def _lines(
    error: ValidationError, file: str, model: type[BaseModel], joint: str = ": "
) -> list[str]:
    lines: dict[str, str] = {}
    for fault in error.errors():
        place = ".".join(str(part) for part in fault["loc"] if not _is_branch(part))
        text = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            text = "unknown key" + nearest(str(fault["loc"][-1]), _fields_at(model, fault["loc"]))
        elif fault["type"] != "missing":
            text += f" (got {fault['input']!r})"
        line = f"{file}{joint if place else ': '}{place}{': ' if place else ''}{text}"
        lines.setdefault(place, line)  # of several ways to read a value, the first one's fault
    return list(lines.values())


def _is_branch(part: int | str) -> bool:
    """Return whether a part of a place is pydantic's name for one way to read a value."""
    known = ("constrained-", "literal[", "function-")
    return isinstance(part, str) and (part[:1].isupper() or part.startswith(known))


def _fields_at(model: Any, place: tuple[int | str, ...]) -> list[str]:
    for part in place[:-1]:
        fields = getattr(model, "model_fields", {})
        if part in fields:
            model = fields[str(part)].annotation
            if getattr(model, "__origin__", None) is dict:
                model = model.__args__[1]
    return list(getattr(model, "model_fields", {}))
