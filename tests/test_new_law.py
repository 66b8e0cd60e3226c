"""The example of docs/guide/add-a-law.md: one file for any table, one line more for a study."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml
from guide_examples import added, examples, in_process, keys

EXAMPLE, FORMS = examples("add-a-law.md")
SHARES = np.array([0.0, 0.1, 0.25, 0.5, 0.75])
TRUTH = {"F_0": 0.8, "B": 12.0}  # at p = 0.25: 0.8 / 4 = 0.2
FIT = """
import sys
from palimpsest.cli import main
sys.argv = ["palimpsest", "fit", "replay-hyperbola", "points.csv", "--bootstrap", "0", "--json"]
sys.argv += ["--columns", "p=replay_fraction,F=forgetting_nats"]
main()
"""
SLOPES = """
import json
import numpy as np
from palimpsest.core.laws import load
from palimpsest.core.laws.form import evaluate
law, x = load("replay-hyperbola"), {"p": np.array([0.0, 0.25, 0.5])}
theta = np.array([[0.8, np.log(12.0)]])
step = np.array([[0.0, 1e-6]])
value, jacobian = evaluate(law, theta, x)
slope = (evaluate(law, theta + step, x)[0] - evaluate(law, theta - step, x)[0]) / 2e-6
print(json.dumps([value[0].tolist(), jacobian[0, :, 1].tolist(), slope[0].tolist()]))
"""
STUDY = """
import json
from pathlib import Path
import pandas as pd
from palimpsest.core.laws.study.entry import Options
from palimpsest.core.laws.study.replay import per_size
runs = pd.read_csv("points.csv")
options = Options(laws=("replay-hyperbola",), n_draws=50, seed=0, tolerance_nats=0.05)
found = per_size(runs, "forgetting_nats", what="forgetting", noise=None, options=options)
print(json.dumps([entry.name for entry in found if entry.fit.fitted and "log" not in entry.name]))
"""

REFUSED = """
from pathlib import Path
from palimpsest import params
from palimpsest.faults import Fault
try:
    params.load(Path("more.yaml"))
except Fault as fault:
    print(fault)
"""
NOT_FITTED = (
    "more.yaml: fits.laws: no part of a study fits 'replay-hyperbola'; leave it out, or name it in "
    "core/laws/study (docs/guide/add-a-law.md)\n"
)


@pytest.fixture
def hyperbola(source):
    """A project with the example in its `src`, and points that lie on its curve."""
    (source / "core" / "laws" / "replay_hyperbola.py").write_text(EXAMPLE, "utf-8")
    project = source.parent.parent
    forgetting = TRUTH["F_0"] / (1 + TRUTH["B"] * SHARES)
    frame = pd.DataFrame({"replay_fraction": SHARES, "forgetting_nats": forgetting})
    runs = [f"run {number}" for number in range(len(frame))]
    frame.assign(run=runs, model="tiny", n_params=25_000, policy_label="hold 5 %").to_csv(
        project / "points.csv", index=False
    )
    return project


def test_the_command_recovers_its_parameters(hyperbola):
    record = json.loads(in_process(hyperbola, FIT))
    found = {name: ends["value"] for name, ends in record["parameters"].items()}
    assert found == pytest.approx(TRUTH, rel=1e-6)


def test_its_slope_is_the_law_s(hyperbola):
    value, written, measured = json.loads(in_process(hyperbola, SLOPES))
    assert value == pytest.approx([0.8, 0.2, 0.8 / 7])
    assert written == pytest.approx(measured, abs=1e-8)


def test_no_key_changes_until_a_study_names_it_and_a_line_lets_it_be_fitted(source, hyperbola):
    """`fits.laws` alone is refused; the line of the page brings the fit of each size."""
    file, constant = source / "core/laws/study/replay.py", "forgetting/constant/tiny"
    (source / "core" / "laws" / "replay_hyperbola.py").unlink()
    before = keys(hyperbola)
    (source / "core" / "laws" / "replay_hyperbola.py").write_text(EXAMPLE, "utf-8")
    assert keys(hyperbola) == before
    assert json.loads(in_process(hyperbola, STUDY)) == [constant]
    content = yaml.safe_load((hyperbola / "params.yaml").read_text("utf-8"))
    content["fits"]["laws"].append("replay-hyperbola")
    (hyperbola / "more.yaml").write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    assert in_process(hyperbola, REFUSED) == NOT_FITTED
    code = file.read_text("utf-8")
    replaced, n_replaced = re.subn(r"^LOSS_FORMS = .*$", FORMS.strip(), code, flags=re.MULTILINE)
    assert n_replaced == 1
    file.write_text(replaced, "utf-8")
    assert added(before, keys(hyperbola, "more.yaml")) == {"fits": 1, "report": 1}
    assert json.loads(in_process(hyperbola, STUDY)) == [
        "forgetting/replay-hyperbola/tiny",
        constant,
    ]
