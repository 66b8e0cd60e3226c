"""A real SLURM of two nodes on one machine: its own keys, ports, files; nothing global is touched.

    python tests/slurm/cluster.py start FOLDER      prints what to export
    python tests/slurm/cluster.py stop FOLDER

Node n1 has no GPU, node n2 two pretended ones (any character device serves; nothing opens it).
Partition `cpu` is n1, `gpu` is n2, and a job in `preempt` pushes the jobs of `gpu` out, which are
requeued. Every daemon listens on 127.0.0.1, runs as the person who starts it, and is stopped by the
process number in its own file. There is no accounting database; finished jobs are appended to the
file that `Cluster.record` reads.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "munged", "munge", "sbatch", "srun", "squeue", "scontrol")
NODES = ("n1", "n2")
SBIN = "/usr/sbin"  # where Debian puts the daemons; not on everybody's PATH

CONFIGURATION = """\
ClusterName=palimpsest
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=8
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
PropagateResourceLimits=NONE
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/log/jobs
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
ReturnToService=2
MinJobAge=300
KillWait=5
SlurmctldTimeout=120
SlurmdTimeout=60
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=16 RealMemory=128000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=16 RealMemory=128000 \
Gres=gpu:h100:2
PartitionName=DEFAULT MaxTime=1-00:00:00 DefMemPerCPU=500 State=UP
PartitionName=cpu Nodes=n1 Default=YES PriorityTier=10 PreemptMode=OFF
PartitionName=gpu Nodes=n2 PriorityTier=10 PreemptMode=REQUEUE
PartitionName=preempt Nodes=n[1-2] PriorityTier=20 PreemptMode=OFF
"""

PRETENDED_GPUS = """\
NodeName=n2 Name=gpu Type=h100 File=/dev/null
NodeName=n2 Name=gpu Type=h100 File=/dev/zero
"""

# A job of the SLURM plugin of Snakemake calls `srun` without SLURM_CONF, which it takes away.
WRAPPER = """\
#!/bin/sh
export SLURM_CONF="{folder}/etc/slurm.conf"
exec {program} "$@"
"""


class CannotStart(Exception):
    """There is no cluster here, and why."""


@dataclass(frozen=True)
class Cluster:
    """The cluster whose files lie in one folder."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in order to submit to this cluster and no other."""
        path = os.pathsep.join([str(self.folder / "bin"), _path()])
        others = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_"))}
        return others | {"SLURM_CONF": str(self.folder / "etc" / "slurm.conf"), "PATH": path}

    # Up and down

    def start(self) -> None:
        """Bring the cluster up and run a job on each node. Raises CannotStart if that fails."""
        if lacking := [name for name in PROGRAMS if not shutil.which(name, path=_path())]:
            raise CannotStart(f"no {', '.join(lacking)}: apt-get install slurm-wlm munge")
        self._write_files()
        try:
            self._start_munge()
            self._run("slurmctld")
            for node in NODES:
                self._run("slurmd", "-N", node)
            self._wait_until_nodes_are_idle()
            self._run("srun", "-p", "cpu", "-n1", "--mem=50", "true")
            self._run("srun", "-p", "gpu", "--gpus=1", "-n1", "--mem=50", "true")
        except (subprocess.SubprocessError, CannotStart) as fault:
            said = self._last_words()
            self.stop()
            raise CannotStart(f"{fault}\n{said}") from fault

    def stop(self) -> None:
        """Cancel what still runs, then end each daemon."""
        with contextlib.suppress(subprocess.SubprocessError, CannotStart):
            self._run("scancel", "--user", getpass.getuser())
            wait_until(lambda: not self.queue(), seconds=15)
        for name in (*(f"slurmd.{node}" for node in NODES), "slurmctld", "munged"):
            _end(self.folder / "run" / f"{name}.pid", name.partition(".")[0])

    # What people ask it

    def queue(self) -> list[dict[str, str]]:
        """Return the jobs that wait or run: id, name, state, partition, comment, reason."""
        fields = {
            "id": "%i",
            "name": "%j",
            "state": "%T",
            "partition": "%P",
            "comment": "%k",
            "reason": "%r",
        }
        said = self._run("squeue", "--noheader", "--format", "\t".join(fields.values()))
        return [dict(zip(fields, line.split("\t"), strict=True)) for line in said.splitlines()]

    def record(self) -> list[dict[str, str]]:
        """Return the finished jobs, one entry each time that one ended."""
        file = self.folder / "log" / "jobs"
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        return [dict(_pair(word) for word in line.split() if "=" in word) for line in lines]

    def command(self, *words: str) -> str:
        """Run a program of SLURM and return what it printed."""
        return self._run(*words)

    # How

    def _write_files(self) -> None:
        for name in ("etc", "munge", "run", "log", "state", "bin", *(f"spool.{n}" for n in NODES)):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name in (".", "munge", "run", "log"):
            (self.folder / name).chmod(0o755)  # munged refuses folders that others may write
        text = CONFIGURATION.format(
            folder=self.folder,
            host=socket.gethostname().partition(".")[0],
            user=getpass.getuser(),
            ports=_free_ports(3),
        )
        (self.folder / "etc" / "slurm.conf").write_text(text)
        (self.folder / "etc" / "gres.conf").write_text(PRETENDED_GPUS)
        wrapper = self.folder / "bin" / "srun"
        program = shutil.which("srun", path=_path())
        wrapper.write_text(WRAPPER.format(folder=self.folder, program=program))
        wrapper.chmod(0o755)

    def _start_munge(self) -> None:
        munge, key = self.folder / "munge", self.folder / "munge" / "key"
        key.touch(0o600)
        key.write_bytes(os.urandom(1024))
        self._run(
            "munged",
            f"--key-file={key}",
            f"--socket={munge}/socket",
            f"--seed-file={munge}/seed",
            f"--pid-file={self.folder}/run/munged.pid",
            f"--log-file={self.folder}/log/munged.log",
            "--num-threads=2",
        )

    def _wait_until_nodes_are_idle(self) -> None:
        def idle() -> bool:
            said = self._run("sinfo", "--noheader", "-N", "-p", "cpu,gpu", "-o", "%N %T")
            return sorted(said.split("\n")[:-1]) == [f"{node} idle" for node in NODES]

        wait_until(idle, seconds=60)

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            words,
            env=self.environment,
            timeout=60,
            text=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        if done.returncode:
            raise CannotStart(f"{' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def _last_words(self) -> str:
        logs = sorted((self.folder / "log").glob("*.log"))
        return "\n".join(line for log in logs for line in log.read_text().splitlines()[-5:])


def wait_until(there, *, seconds: float = 120.0) -> None:
    """Wait until a condition holds. Raises CannotStart if it does not come."""
    end = time.monotonic() + seconds
    while not there():
        if time.monotonic() > end:
            raise CannotStart(f"waited {seconds:.0f} s in vain")
        time.sleep(0.1)


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), SBIN])


def _pair(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    return name, value


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _end(file: Path, program: str) -> None:
    """End the process whose number a file holds, if it still is that program."""
    try:
        number = int(file.read_text())
        running = Path(f"/proc/{number}/comm").read_text().strip()
    except (FileNotFoundError, ValueError):
        return
    if not running.startswith(program):
        return
    os.kill(number, signal.SIGTERM)
    gone = time.monotonic() + 10
    while Path(f"/proc/{number}").exists() and time.monotonic() < gone:
        time.sleep(0.1)
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)
    file.unlink(missing_ok=True)


def main(verb: str, folder: str) -> None:
    """Start or stop the cluster in a folder."""
    cluster = Cluster(Path(folder).resolve())
    if verb == "start":
        cluster.start()
        for name in ("SLURM_CONF", "PATH"):
            print(f"export {name}={cluster.environment[name]}")
    else:
        cluster.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
