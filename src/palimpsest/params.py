"""params.yaml → typed, closed, frozen parameters; each fault is one line: where and what."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from palimpsest.core.plug_ins import MARKS, kinds, nearest
from palimpsest.core.validation import fault_lines
from palimpsest.faults import Fault
from palimpsest.shapes import PYTHIA_STEPS, pythia

PYTHIA_LAST = f"step{PYTHIA_STEPS[-1]}"
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


def _commit(revision: str) -> str:
    if not re.fullmatch("[0-9a-f]{7,40}", revision):
        raise ValueError(
            "must be a commit, 7 to 40 hexadecimal digits, since branches and tags move"
        )
    return revision


ProjectPath = Annotated[str, AfterValidator(_relative)]
Commit = Annotated[str, AfterValidator(_commit)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Dataset(Closed):
    """A data set of the Hugging Face hub, streamed until enough documents have come."""

    repo: str = Field(description="owner/name")
    revision: str = Field(description="commit, or a branch that does not move")
    config: str | None = Field(None, description="configuration; null: the only one")
    split: str = Field("train", description="which of its splits")
    files: str | None = Field(
        None, description="fetch the files of this pattern and read them as a folder instead"
    )


class Archive(Closed):
    """A folder in a zip archive of the web, such as a commit of a repository on GitHub."""

    url: str = Field(pattern="^(https|file)://", description="where the archive lies")
    folder: str = Field(description="folder inside it, below its first one")


class Documents(Closed):
    """The original domain P: two files, or one source that is divided by documents."""

    train: ProjectPath | None = Field(None, description="documents to pretrain on and to replay")
    held_out: ProjectPath | None = Field(
        None, description="documents that only measure; never trained on"
    )
    path: ProjectPath | None = Field(None, description="file or folder to divide")
    dataset: Dataset | None = Field(None, description="data set to divide")
    held_out_documents: int | None = Field(
        None, gt=0, description="of a source that is divided, this many first ones only measure"
    )
    max_documents: int | None = Field(
        None, gt=0, description="take this many documents: of each file, or to train on"
    )
    text_column: str = Field("text", description="where a record keeps its text")

    @model_validator(mode="after")
    def _one_way(self) -> Documents:
        files = (self.train, self.held_out)
        if [None not in files, self.path is not None, self.dataset is not None].count(True) != 1:
            raise ValueError("give train and held_out, or path, or dataset")
        if files != (None, None) and None in files:
            raise ValueError("train and held_out go together")
        if (self.train is None) != (self.held_out_documents is not None):
            raise ValueError("held_out_documents belongs to path and dataset")
        if self.dataset is not None and self.max_documents is None:
            raise ValueError("max_documents says how many documents of the dataset to stream")
        return self


class Sessions(Closed):
    """The new domain D, in time order: episodes with turns, CRD3, or documents of any text."""

    path: ProjectPath | None = Field(None, description="file or folder of episodes or documents")
    dataset: Dataset | None = Field(None, description="data set of the hub, in its own order")
    archive: Archive | None = Field(None, description="files of a zip archive of the web")
    held_out_episodes: int = Field(
        4, gt=0, description="this many last episodes only measure learning"
    )
    episode_characters: int | None = Field(
        None, gt=0, description="first whole lines of each training episode, up to so many"
    )
    text_column: str = Field("text", description="where a record without turns keeps its text")

    @model_validator(mode="after")
    def _one_source(self) -> Sessions:
        if [self.path, self.dataset, self.archive].count(None) != 2:
            raise ValueError("give path, dataset or archive")
        return self


class Questions(Closed):
    """The questions Q to memorise."""

    path: ProjectPath = Field(description="JSON Lines of {question, answer}")


class Tokenizer(Closed):
    """The one tokenizer of the study: a byte-level BPE trained on P, or that of a hub model."""

    vocab_size: int | None = Field(
        None, ge=258, description="entries to train, end-of-text included; null: 2048"
    )
    model: str | None = Field(None, description="take this model's instead: pythia-70m, …")

    @model_validator(mode="after")
    def _one_way(self) -> Tokenizer:
        if self.model is not None and self.vocab_size is not None:
            raise ValueError("vocab_size trains a tokenizer, model takes one; give one of them")
        return self


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


class Hub(Closed):
    """A published causal language model: a repository at a pinned revision, or a local folder."""

    repo: str | None = Field(None, description="repository of the Hugging Face hub: owner/name")
    revision: str | None = Field(
        None, description="commit, or a branch that does not move; an int base_step N means stepN"
    )
    path: ProjectPath | None = Field(None, description="folder that save_pretrained wrote")

    @model_validator(mode="after")
    def _one_source(self) -> Hub:
        if (self.repo is None) == (self.path is None):
            raise ValueError("give either repo with revision, or path")
        if (self.repo is None) != (self.revision is None):
            raise ValueError("revision belongs to repo: a commit, or a branch such as step3000")
        return self


class Models(Closed):
    """The base models. `pythia-<size>` and `pythia-<size>-deduped` need not be listed."""

    pretraining: Pretraining | None = Field(None, description="needed where there are sizes")
    sizes: dict[str, Size] = {}
    hub: dict[str, Hub] = {}

    @model_validator(mode="after")
    def _pretrained(self) -> Models:
        if self.sizes and self.pretraining is None:
            raise ValueError("sizes need pretraining: n_tokens, learning_rate, …")
        if twice := sorted(set(self.sizes) & set(self.hub)):
            raise ValueError(f"{twice[0]} stands in sizes and in hub; rename one of them")
        return self

    def published(self, name: str) -> Hub | None:
        """Return where a model that is not pretrained here comes from; None for an unknown name."""
        if name in self.hub or name in self.sizes:
            return self.hub.get(name)
        known = pythia(name) is not None
        return Hub(repo=f"EleutherAI/{name}", revision=PYTHIA_LAST) if known else None


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
    dtype: Literal["fp32", "bf16"] = Field(
        "fp32", description="of all but the last, which training goes on from; bf16 rounds drift"
    )
    moments: bool = Field(
        True, description="keep the optimiser's moments at the end; false: no further epoch"
    )

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
    revisions: dict[str, Commit] = Field(
        {}, description="commit of the data set of each task that comes with lm-eval"
    )
    limit: int | None = Field(None, gt=0, description="items per task; null: all")
    batch_size: int = Field(32, gt=0)
    seeds: tuple[Seed, ...] = Field((0,), description="seeds whose runs are evaluated")
    checkpoints: Literal["final", "all"] = Field(
        "final", description="which weights of these runs: the last alone, or all that are kept"
    )


class Fits(Closed):
    """Which laws are fitted, and how intervals are made."""

    laws: tuple[str, ...] = Field(description="files of core/laws")
    bootstrap: int = Field(1000, gt=0, description="resamples behind each interval")
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
        raise Fault("\n".join(fault_lines(error, str(path), Params, joint=": "))) from None
    _check_names(params, path)
    _check_laws(params, path)
    return params


def _read(path: Path) -> dict[str, Any]:
    try:
        reader = _Reader(path.read_text("utf-8"))
        raw = reader.get_single_data()
    except (FileNotFoundError, IsADirectoryError):
        raise Fault(f"{path}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise Fault(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    except yaml.YAMLError as error:
        raise Fault(_not_yaml(path, error)) from None
    if not isinstance(raw, dict):
        raise Fault(f"{path}: expected sections such as corpora: and experiments:")
    try:
        return _numbers(raw)
    except RecursionError:
        raise Fault(f"{path}: an alias (*) stands inside of what it names; write it out") from None


def _not_yaml(path: Path, error: yaml.YAMLError) -> str:
    """Say in one line what is no YAML, and in which line of the file."""
    if isinstance(error, yaml.reader.ReaderError):
        return f"{path}: not YAML: the character {chr(error.character)!r} is not allowed in it"
    assert isinstance(error, yaml.MarkedYAMLError)
    mark = error.problem_mark
    assert mark is not None  # of all that PyYAML's reader, scanner, parser and constructor raise
    said = [part for part in (error.context, error.problem) if part]
    return f"{path}:{mark.line + 1}: not YAML: {', '.join(said)} (column {mark.column + 1})"


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


def _check_laws(params: Params, path: Path) -> None:
    """Refuse a law that does not exist, and one that the study's code fits to nothing."""
    laws = [name.replace("_", "-") for name in kinds("laws")]
    for law in params.fits.laws:
        if law not in laws:
            raise Fault(f"{path}: fits.laws: {law!r} is unknown{nearest(law, laws)}")
        if f'"{law}"' not in _fitting_code():
            raise Fault(
                f"{path}: fits.laws: no part of a study fits {law!r}; leave it out, or name it in "
                "core/laws/study (docs/guide/add-a-law.md)"
            )


@cache
def _fitting_code() -> str:
    """Return the text of the modules that say which law is fitted to what."""
    folder = Path(__file__).parent / "core" / "laws" / "study"
    return "\n".join(file.read_text("utf-8") for file in sorted(folder.glob("*.py")))


def _check_names(params: Params, path: Path) -> None:
    for section, names in (
        ("models.sizes", params.models.sizes),
        ("models.hub", params.models.hub),
        ("experiments", params.experiments),
    ):
        for name in names:
            if not SAFE_NAME.fullmatch(str(name)):
                raise Fault(
                    f"{path}: {section}.{name}: a name holds only letters, digits and . _ -, "
                    "begins with a letter or digit, and has at most 40 characters"
                )
