"""Runs → the artifacts of every stage, in the order in which data flow."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from palimpsest import costs, labels, phase_costs, published, sources
from palimpsest import params as P
from palimpsest.amounts import Amounts
from palimpsest.core.checkpoints import doublings, folder_name
from palimpsest.core.plug_ins import plug_in
from palimpsest.core.streams.orders import orders_taken
from palimpsest.core.streams.replay import Ramp
from palimpsest.costs import Cost
from palimpsest.experiments import Phase, Run, runs, set_at
from palimpsest.faults import Fault
from palimpsest.shapes import Shape

if TYPE_CHECKING:
    from palimpsest.plan import Artifact, Inputs, Plan


FIRST_LM_EVAL = "0.4.13"  # whose keys do not name it
BY_DIFFICULTY = ("easy-first", "hard-first")
ORDERING = ("order", "cycles", "repeats", "replay_order", "replay_cycles", "part")


class Layout:
    """Lays out one plan; what many runs share is registered once."""

    def __init__(self, plan: Plan):
        self.plan, self.params, self.add = plan, plan.params, plan.add
        self._shapes: dict[str, Shape | None] = {}

    def build(self) -> None:
        """Lay out everything."""
        self.corpora()
        for run in runs(self.params):
            self.run(run)
        self.ends()

    def corpora(self) -> None:
        """Lay out text, tokenizer and tokens."""
        corpora = self.params.corpora
        sources.check_questions(Path(corpora.questions.path))
        original = self._text("original", {"kind": "documents"} | _given(corpora.original))
        new = self._text("new", {"kind": "sessions"} | _given(corpora.new))
        self._check_held_out()
        self.tokenizer = self._tokenizer(original)
        self.tokens = {
            role: self._tokens_of(role, {"text": text})
            for role, text in (("original", original), ("new", new))
        }
        named = sources.files_of(Path(corpora.new.path)) if corpora.new.path else []
        self.amounts = Amounts(self.tokens["new"], named)
        self.n_new_tokens = sources.n_bytes(corpora.new) / costs.BYTES_PER_NEW_TOKEN
        self.n_original_tokens = sources.n_bytes(corpora.original) / costs.BYTES_PER_NEW_TOKEN
        self.entries: dict[str, dict[str, Any]] = {}
        self.probes: dict[str, dict[str, Any]] = {}
        self.usual_probe: dict[str, Any] = {}
        self.lists: dict[str, dict[Artifact, int]] = {
            role: {} for role in ("bases", "probes", "trains", "recalls", "evals")
        }

    def _check_held_out(self) -> None:
        """Refuse more held-out texts than the sources have, where that is known at once."""
        original, new = self.params.corpora.original, self.params.corpora.new
        place = "corpora.new.held_out_episodes"
        n_needed = new.held_out_episodes + 1
        sources.check_enough(new.path, n_needed, f"{place}: {new.held_out_episodes}")
        n_held_out = original.held_out_documents or 0
        place = f"corpora.original.held_out_documents: {n_held_out}"
        sources.check_enough(original.path, n_held_out + 1, place)

    def run(self, run: Run) -> None:
        """Lay out one run: base, probes, one training artifact per epoch, then what is measured."""
        _check(run, self.params)
        run = self._plainly(run)
        self._check_base_step(run)
        self.amounts.check(run, self.params)
        base = self.base(run)
        chain: list[Artifact] = []
        for phase in run.phases:
            if not isinstance(phase, Phase):
                chain.append(self.edit(run, phase, before=chain[-1], base=base))
                continue
            probe = self.probe(run, phase, base)
            for epoch in range(phase.epochs):
                before = chain[-1] if chain else base
                chain.append(
                    self.train(run, phase, epoch=epoch, before=before, base=base, probe=probe)
                )
        before, phases = chain[-1], [artifact.spec for artifact in chain]
        texts: Inputs = {}
        for phase in run.trainings:
            texts |= self._texts(phase)
        recall = self.add(
            "recall",
            before.label,
            self.params.recall.model_dump() | {"phases": phases},
            {"base": base, "trains": list(chain), **texts},
            model=run.model,
            cost=phase_costs.of_recall(
                self.params.recall, run, self.shape(run.model), n_new_tokens=self.n_new_tokens
            ),
        )
        self._enter(run, base=base, probe=probe, chain=chain, recall=recall)

    def _plainly(self, run: Run) -> Run:
        """Call a published model's last revision `final`, however an experiment asks for it."""
        if run.base_step == "final" or run.model in self.params.models.sizes:
            return run
        steps: tuple[int | Literal["final"], ...] = (run.base_step, "final")
        asked, last = (published.source(self.params, run.model, step) for step in steps)
        return replace(run, base_step="final") if asked == last else run

    def _base_step(self, run: Run) -> int | str:
        """Return which checkpoint of its base a run starts from; a published base holds one."""
        return run.base_step if run.model in self.params.models.sizes else "final"

    def base(self, run: Run) -> Artifact:
        """Lay out the model that a run starts from: pretrained here, or published."""
        if run.model in self.params.models.sizes:
            return self._pretrained(run.model, run.seed)
        return self._published(run)

    def _pretrained(self, model: str, seed: int) -> Artifact:
        models, shape = self.params.models, self.shape(model)
        pretraining = models.pretraining
        assert pretraining is not None and shape is not None
        kept = Cost(n_bytes=pretraining.checkpoints * costs.weight_bytes(shape))
        learned = costs.training(shape, pretraining.n_tokens, row=pretraining.context_length)
        return self.add(
            "bases",
            f"{model}_s{seed}",
            {"kind": "embedded", "seed": seed}
            | models.sizes[model].model_dump()
            | pretraining.model_dump(),
            {"tokens": self.tokens["original"], "tokenizer": self.tokenizer},
            model=model,
            cost=costs.plus(learned, kept),
        )

    def _published(self, run: Run) -> Artifact:
        """Lay out a published base, and before it the check that it shares the study's tokenizer.

        It has one pretraining, whatever the seed of the run.
        """
        model, corpora = run.model, self.params.corpora
        if corpora.tokenizer.model is None:
            raise Fault(
                f"corpora.tokenizer: {model} brings its own; write `tokenizer: {{model: {model}}}`"
            )
        spec = published.base_spec(self.params, model, run.base_step)
        source = published.source(self.params, model, run.base_step)
        label = f"{model}_{source['revision'][:12]}" if "revision" in source else model
        same = self.add(
            "corpora",
            f"tokenizer_{label}",
            {"kind": "same-tokenizer", **source},
            {"tokenizer": self.tokenizer},
            # The weights too: DVC watches data/ for the corpora stage, and bases follow from it.
            source=sources.hashes(published.files(source)),
        )
        return self.add(
            "bases",
            label,
            spec,
            {"tokenizer": self.tokenizer, "same": same},
            source=sources.hashes(published.files(source)),
            model=model,
            cost=replace(
                costs.training(self.shape(model), 0, row=0),
                n_bytes=costs.weight_bytes(self.shape(model)),
            ),
        )

    def shape(self, model: str) -> Shape | None:
        """Return a model's shape, for costs; None where it is not known on this machine."""
        if model not in self._shapes:
            self._shapes[model] = published.shape(self.params, model)
        return self._shapes[model]

    def probe(self, run: Run, phase: Phase, base: Artifact) -> Artifact:
        """Lay out the probe of a base on the batches and at the replay ratio of a phase."""
        spec = self._probe_spec(run, phase)
        probe = self.add(
            "probes",
            f"{run.model}_r{spec['replay_fraction']:g}_s{run.seed}",
            spec,
            {"base": base, **self._streamed(phase)},
            model=run.model,
            cost=phase_costs.of_probe(
                spec, self.shape(run.model), row=phase_costs.row_length(phase)
            ),
        )
        setting = [spec["stream"], spec["optimizer"], run.base_step]
        self.probes[probe.key] = {
            "model": run.model,
            "seed": run.seed,
            "replay_fraction": spec["replay_fraction"],
            "stream": spec["stream"]["kind"],
            "base_step": str(run.base_step),
            "optimizer": phase.optimizer.kind,
            "warm_steps": spec["warm_steps"],
            "usual": setting == self.usual_probe.setdefault(run.model, setting),
            "probe": self._place("probes", probe),
        }
        return probe

    def _probe_spec(self, run: Run, phase: Phase) -> dict[str, Any]:
        settings, replay = self.params.probe, _probe_replay(phase)
        asked = phase.policy.get("decrease")
        if phase.policy["kind"] == "hold" and asked not in settings.decreases:
            place = set_at(self.params, run.experiment, "policy.decrease")
            raise Fault(f"{place}: {asked} is not probed; add it to probe.decreases")
        usual = {n: value for n, value in labels.USUAL_ORDER.items() if n in phase.stream}
        return settings.model_dump(mode="json", exclude={"landscape_replay"}) | {
            "kind": "landscape",
            "base_step": self._base_step(run),
            "stream": phase.stream | usual,
            "replay_fraction": replay,
            "seed": run.seed,
            "optimizer": phase.optimizer.model_dump(),
            "landscape": replay in settings.landscape_replay,
        }

    def train(
        self,
        run: Run,
        phase: Phase,
        *,
        epoch: int,
        before: Artifact,
        base: Artifact,
        probe: Artifact,
    ) -> Artifact:
        """Lay out one epoch of a phase."""
        policy = plug_in("policies", phase.policy["kind"], "policy")
        spec = {
            "phase": phase.model_dump(mode="json", exclude={"epochs", "probe_replay"}),
            "epoch": epoch,
            "epochs": phase.epochs if _needs_length(phase) else None,
            "seed": run.seed,
            "base_step": self._base_step(run),
        }
        inputs: Inputs = {"before": before, "base": base, **self._texts(phase)}
        if policy.NEEDS_PROBE:
            inputs["probe"] = probe
        inputs |= self.difficulties(run, phase, base)
        if phase.ewc is not None and phase.ewc.strength > 0:
            inputs["fisher"] = self.fisher(run, phase, base)
        cost = phase_costs.of_training(phase, self.shape(run.model), n_new_tokens=self.n_new_tokens)
        return self.add(
            "train",
            labels.folder_label(run, phase, epoch),
            spec,
            inputs,
            model=run.model,
            cost=cost,
        )

    def edit(self, run: Run, phase: BaseModel, *, before: Artifact, base: Artifact) -> Artifact:
        """Lay out one phase that changes the weights without training."""
        settings = phase.model_dump(mode="json")
        spec = {"phase": settings, "epoch": 0, "epochs": None}
        return self.add(
            "train",
            f"{before.label}_{labels.edit_label(phase).replace(' ', '')}",
            spec | {"seed": run.seed, "base_step": self._base_step(run)},
            {"before": before, "base": base},
            model=run.model,
            cost=Cost(n_bytes=3.0 * costs.weight_bytes(self.shape(run.model))),
        )

    def difficulties(self, run: Run, phase: Phase, base: Artifact) -> Inputs:
        """Lay out the base's losses that the phase's orders go by, each measured once."""
        orders = orders_taken(phase.stream, pure_replay=phase.replay_fraction == 1)
        stream = phase.stream | orders
        found: Inputs = {}
        if stream.get("order") in BY_DIFFICULTY:
            cut = {name: value for name, value in stream.items() if name not in ORDERING}
            own_window = stream.get("max_tokens") is not None
            ratio = phase.model_dump(mode="json")["replay_fraction"] if own_window else 0.0
            spec = {"of": "new", "stream": cut, "replay_fraction": ratio, "seed": run.seed}
            n_tokens = float(stream.get("n_new_tokens") or self.n_new_tokens)
            found["difficulty"] = self._losses(run, spec, base, n_tokens=n_tokens)
        if stream["replay_order"] in BY_DIFFICULTY:
            spec = {"of": "original", "sequence_length": stream["sequence_length"]}
            found["replay_difficulty"] = self._losses(
                run, spec, base, n_tokens=self.n_original_tokens
            )
        return found

    def _losses(
        self, run: Run, spec: dict[str, Any], base: Artifact, *, n_tokens: float
    ) -> Artifact:
        return self.add(
            "probes",
            f"{base.label}_losses_{spec['of']}",
            {"kind": "losses", "base_step": self._base_step(run)} | spec,
            {"base": base, **{role: self.tokens[role] for role in ("new", "original")}},
            model=run.model,
            cost=costs.forward(self.shape(run.model), n_tokens, row=spec.get("sequence_length", 0)),
        )

    def fisher(self, run: Run, phase: Phase, base: Artifact) -> Artifact:
        """Lay out the Fisher information of a base on original text."""
        assert phase.ewc is not None
        n_tokens, row = phase.ewc.fisher_tokens, phase.stream["sequence_length"]
        spec = {
            "kind": "fisher",
            "base_step": self._base_step(run),
            "n_tokens": n_tokens,
            "sequence_length": phase.stream["sequence_length"],
            "seed": run.seed,
        }
        return self.add(
            "probes",
            f"{base.label}_fisher",
            spec,
            {"base": base, "original": self.tokens["original"]},
            model=run.model,
            cost=costs.training(self.shape(run.model), n_tokens, row=row),
        )

    def _check_base_step(self, run: Run) -> None:
        """Refuse a step of pretraining whose weights are not kept."""
        settings = self.params.models.pretraining
        if run.model not in self.params.models.sizes:
            return  # each revision of a published model is a base of its own
        assert settings is not None
        batch_tokens = settings.batch_sequences * settings.context_length
        n_steps = max(1, round(settings.n_tokens / batch_tokens))
        kept = doublings(n_steps=n_steps, count=settings.checkpoints)
        if run.base_step not in ("final", *kept):
            raise Fault(
                f"experiments.{run.experiment}.base_step: {run.base_step} is not kept; take one of "
                f"{', '.join(map(str, kept))} or final, or change models.pretraining.checkpoints"
            )

    def ends(self) -> None:
        """Lay out what reads all runs: one table, the laws, the report."""
        entries = [self.entries[name] for name in sorted(self.entries)]
        spec = {"runs": entries, "probes": list(self.probes.values())}
        inputs: Inputs = {role: list(members) for role, members in self.lists.items()}
        tables = self.add("tables", "tables", spec, inputs)
        fits = self.add(
            "fits", "fits", self.params.fits.model_dump(mode="json"), {"tables": tables}
        )
        self.add(
            "report", "report", self.params.report.model_dump(), {"tables": tables, "fits": fits}
        )

    def _tokenizer(self, original: Artifact) -> Artifact:
        spec, files = published.tokenizer_spec(self.params)
        inputs: Inputs = {"original": original} if spec["kind"] == "tokenizer" else {}
        return self.add("corpora", "tokenizer", spec, inputs, source=sources.hashes(files))

    def _text(self, label: str, spec: dict[str, Any]) -> Artifact:
        named = [Path(spec[name]) for name in ("path", "train", "held_out") if name in spec]
        files = [file for path in named for file in sources.files_of(path)]
        return self.add("corpora", label, spec, source=sources.hashes(files))

    def _tokens_of(self, role: str, inputs: Inputs) -> Artifact:
        kind = "questions" if role == "questions" else "text"
        return self.add("tokens", role, {"kind": kind}, inputs | {"tokenizer": self.tokenizer})

    def _texts(self, phase: Phase) -> Inputs:
        """Return the token files that a phase reads; questions only where they are asked."""
        asks = phase.stop is not None and phase.stop.accuracy is not None
        return self._streamed(phase) | (self._questions() if asks else {})

    def _streamed(self, phase: Phase) -> Inputs:
        """Return the token files that a phase's stream is cut from."""
        texts: Inputs = {role: self.tokens[role] for role in ("new", "original")}
        return texts | (self._questions() if phase.stream["kind"] == "questions" else {})

    def _questions(self) -> Inputs:
        spec = {"kind": "questions"} | self.params.corpora.questions.model_dump()
        text = self._text("questions", spec)
        return {"questions": self._tokens_of("questions", {"questions": text})}

    def _evals_along(self, run: Run, chain: list[Artifact]) -> dict[str, Any]:
        """Lay out the evaluation of what a run keeps before its end.

        How many updates an epoch takes is not known yet: its earlier checkpoints go by their
        number, and those that it turns out not to keep are found missing when their turn comes.
        """
        ends, kept = [], []
        phases = [p for p in run.phases for _ in range(p.epochs if isinstance(p, Phase) else 1)]
        for phase, train in zip(phases, chain, strict=True):
            n_kept = phase_costs.n_earlier(phase.checkpoints) if isinstance(phase, Phase) else 0
            for number in range(1, n_kept + 1):
                label = f"{train.label}_c{number}"
                kept.append(self._evals(train, run.model, {"kept": number}, label=label))
            ends.append(self._evals(train, run.model, {"folder": "final"}))
        return {
            "epoch_evals": [
                [self._place("trains", train), self._place("evals", end)]
                for train, end in zip(chain[:-1], ends[:-1], strict=True)
            ],
            "kept_evals": [self._place("evals", one) for one in kept],
        }

    def _evals(
        self, weights: Artifact, model: str, which: dict[str, Any], *, label: str = ""
    ) -> Artifact:
        evals = self.params.evals
        files = sources.task_files(Path(evals.task_dir), evals.tasks)
        of_all = evals.model_dump(mode="json", exclude={"seeds", "revisions", "checkpoints"})
        n_tokens = costs.benchmark_tokens(evals.tasks, evals.limit)
        cost = costs.forward(self.shape(model), n_tokens, row=170)
        return self.add(
            "evals",
            label or weights.label,
            of_all | which | _harness(),
            {"weights": weights, **self._benchmarks()},
            source=sources.hashes(files),
            model=model,
            cost=cost,
        )

    def _benchmarks(self) -> Inputs:
        """Lay out the tasks that come with lm-eval, whose data the hub has."""
        evals = self.params.evals
        stock = [t for t in evals.tasks if not (Path(evals.task_dir) / f"{t}.yaml").is_file()]
        sources.check_revisions(evals.revisions, stock)
        found = [
            self.add(
                "corpora",
                f"benchmark_{task}",
                {
                    "kind": "benchmark",
                    "task": task,
                    "revision": evals.revisions[task],
                    "lm_eval": version("lm_eval"),
                },
            )
            for task in stock
        ]
        return {"benchmarks": list(found)} if found else {}

    def _enter(
        self, run: Run, *, base: Artifact, probe: Artifact, chain: list[Artifact], recall: Artifact
    ) -> None:
        name, phase = chain[-1].name, run.trainings[-1]
        if name in self.entries:
            if run.experiment not in self.entries[name]["experiments"]:
                self.entries[name]["experiments"].append(run.experiment)
            return
        measured, step = run.seed in self.params.evals.seeds, self._base_step(run)
        folder = folder_name(step) if isinstance(step, int) else step
        weights = ((chain[-1], "final"), (base, folder)) if measured else ()
        evals = [self._evals(one, run.model, {"folder": name}) for one, name in weights]
        along = measured and self.params.evals.checkpoints == "all"
        self.entries[name] = {
            "run": name,
            "experiments": [run.experiment],
            "model": run.model,
            "seed": run.seed,
            "asked_base_step": run.base_step,
            "base": self._place("bases", base),
            "probe": self._place("probes", probe),
            "trains": [self._place("trains", train) for train in chain],
            "recall": self._place("recalls", recall),
            "evals": self._place("evals", evals[0]) if evals else None,
            "base_evals": self._place("evals", evals[1]) if evals else None,
            **(self._evals_along(run, chain) if along else {"epoch_evals": [], "kept_evals": []}),
            "phase": phase.model_dump(mode="json"),
            "epochs": phase.epochs,
            "n_phases": len(run.phases),
            "earlier": [phase.model_dump(mode="json") for phase in run.phases[:-1]],
            **labels.method(run),
            "label": labels.setting_label(self.params, run),
        }

    def _place(self, role: str, artifact: Artifact) -> int:
        return self.lists[role].setdefault(artifact, len(self.lists[role]))


def _given(section: P.Closed) -> dict[str, Any]:
    """Return what a section says; what it leaves out is no part of a key."""
    return section.model_dump(mode="json", exclude_none=True)


def _check(run: Run, params: P.Params) -> None:
    """Refuse what no stage could do, before any job runs."""
    where = f"experiments.{run.experiment}"

    def place(field: str) -> str:
        return set_at(params, run.experiment, field)

    first = run.phases[0]
    if not isinstance(first, Phase):
        raise Fault(f"{where}.phases: the first phase must train; there is nothing to edit yet")
    if first.carry_optimizer:
        raise Fault(f"{place('carry_optimizer')}: the first phase has no moments to carry")
    for phase, after in zip(run.trainings, [*run.trainings[1:], None], strict=True):
        goes_on = phase.epochs > 1 or (after is not None and after.carry_optimizer)
        if goes_on and not phase.checkpoints.moments:
            raise Fault(
                f"{place('checkpoints.moments')}: false, but what follows goes on from these "
                "moments; keep them, or train one epoch"
            )


def _probe_replay(phase: Phase) -> float:
    if phase.probe_replay is not None:
        return phase.probe_replay
    replay = phase.replay_fraction
    share = replay if isinstance(replay, float) else replay.start
    return 0.0 if share == 1 else share


@cache
def _harness() -> dict[str, str]:
    """Return lm-eval's version for keys; those without one are of the first that was used."""
    installed = version("lm_eval")
    return {} if installed == FIRST_LM_EVAL else {"lm_eval": installed}


def _needs_length(phase: Phase) -> bool:
    """Return whether an epoch depends on how many follow; such phases share no beginnings."""
    policy = plug_in("policies", phase.policy["kind"], "policy")
    return bool(policy.NEEDS_LENGTH) or isinstance(phase.replay_fraction, Ramp)
