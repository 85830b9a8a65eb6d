# SPDX-License-Identifier: Apache-2.0
"""Studies whose commands are small Python programs, which write down that they have run."""

import sys
from pathlib import Path

import pytest
import yaml

from radio_visual_ssl.study.description import load_study
from radio_visual_ssl.study.plan import make_plan
from radio_visual_ssl.study.results import Results
from radio_visual_ssl.study.running import run_plan

PROGRAM = """
import json, os, sys, time
from pathlib import Path

here = Path(__file__).parent
out, name, *rest = sys.argv[1:]
options = dict(each.split('=', 1) for each in rest)
with (here / 'ran.txt').open('a') as file:
    file.write(f'{name} {os.getpid()} {os.environ["OMP_NUM_THREADS"]}\\n')
until = here / options.get('until', '')
while options.get('until') and not until.exists():
    time.sleep(0.02)
inputs = [float(Path(path).read_text()) for path in options.get('inputs', '').split(',') if path]
value = float(options.get('value', 0)) + sum(inputs)
Path(out).write_text(str(value))
if options.get('status', '0') != '0':
    sys.exit(int(options['status']) if options['status'].isdigit() else 'error: out of luck')
loss = None if options.get('loss') == 'none' else float(options.get('loss', 1))
print(json.dumps({'value': value, 'loss': loss, 'nested': {'0.1': {'value': value / 2}}}))
print('a line on the other stream', file=sys.stderr)
"""
STEP = f'{sys.executable} {{folder}}/step.py {{out}}'
CONTENT = {
    'title': 'Sums',
    'axes': [{'name': 'size', 'values': [1, 2]}],
    'seeds': [0, 1, 2],
    'recipe': {
        'data': {'run': f'{STEP} data value={{size}}', 'temporary': True},
        'train': {'run': f'{STEP} train value=0.{{seed}} inputs={{data.out}}'},
        'judge': {'run': f'{STEP} judge inputs={{train.out}}'},
    },
    'figures': [{'name': 'sum', 'value': 'judge.value'}, {'name': 'half', 'value': 'judge.nested.0.1.value'}],
}


class Workshop:
    """A folder with the program, a study of it, and what has been run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / 'sums.yaml'
        self.content = yaml.safe_load(yaml.safe_dump(CONTENT))
        self.said: list[str] = []
        (folder / 'step.py').write_text(PROGRAM, encoding='utf-8')

    def write(self) -> Path:
        """The study's file."""
        self.file.write_text(yaml.safe_dump(self.content, sort_keys=False), encoding='utf-8')
        return self.file

    def plan(self, **restrictions):
        """Of the study as it is now."""
        return make_plan(load_study(self.write()), **restrictions)

    def run(self, out: str = 'out', workers: int = 1, **options) -> Results:
        """Run it."""
        plan = self.plan()
        return Results.collect(
            plan, run_plan(plan, self.folder / out, workers=workers, tell=self.said.append, **options)
        )

    def ran(self) -> list[str]:
        """Names of the commands that have been run since the last call."""
        file = self.folder / 'ran.txt'
        lines = file.read_text(encoding='utf-8').splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        assert all(line.split()[2] == '1' for line in lines)  # a thread each
        return [line.split()[0] for line in lines]


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """With a study of two sizes and three seeds."""
    return Workshop(tmp_path)
