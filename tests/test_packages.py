"""The packages' metadata, their READMEs as an index shows them, and the same supported versions everywhere.

Building them takes long: `.ci/check-packages` and `.ci/wheels` do, and run the programs of tests/wheel.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from golib import _supported

from markdown import ROOT
from support import script_environment

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
WORKSPACE = tomllib.loads((ROOT / "Cargo.toml").read_text("utf-8"))["workspace"]
CRATES = ["rust/go-lib", "rust/go-lib-macros"]
VERSIONS = [(3, minor) for minor in range(_supported.OLDEST[1], _supported.NEWEST[1] + 1)]


@pytest.mark.parametrize("readme", [PROJECT["readme"], *(f"{crate}/README.md" for crate in CRATES)])
def test_a_packages_readme_has_no_link_that_an_index_could_not_follow(readme: str) -> None:
    text = (ROOT / readme).read_text("utf-8")
    assert text.startswith("# ")
    targets = re.findall(
        r"(?<!`)\]\(([^)]*)\)", re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    )
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []


def test_the_classifiers_name_the_versions_that_are_supported() -> None:
    prefix = "Programming Language :: Python :: "
    minors = [c.removeprefix(prefix) for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]
    assert minors == [f"{major}.{minor}" for major, minor in VERSIONS]
    (oldest, newest) = (_supported.OLDEST[1], _supported.NEWEST[1])
    assert PROJECT["requires-python"] == f">=3.{oldest},<3.{newest + 1}"


def test_every_text_names_the_oldest_rust_that_cargo_does() -> None:
    msrv = WORKSPACE["package"]["rust-version"]
    files = [PROJECT["readme"], "README.md", "rust/go-lib/README.md", "rust/go-lib/src/lib.rs"]
    for file in files:
        said = re.findall(r"Rust\W{0,3} (\d\.\d+)", (ROOT / file).read_text("utf-8"))
        assert set(said) == {msrv}, file


def test_the_crates_share_the_version_and_say_what_a_registry_asks_for() -> None:
    for crate in CRATES:
        manifest = tomllib.loads((ROOT / crate / "Cargo.toml").read_text("utf-8"))
        package = manifest["package"]
        assert package["description"]
        assert package["license"] == {"workspace": True}
        assert package["version"] == {"workspace": True}
        for dependency in manifest["dependencies"].values():
            if "path" in dependency:
                assert dependency["version"] == WORKSPACE["package"]["version"]


@pytest.mark.parametrize("licence", ["LICENSE-MIT", "LICENSE-APACHE"])
def test_every_package_has_the_same_licences(licence: str) -> None:
    texts = {(ROOT / place / licence).read_bytes() for place in [".", *CRATES]}
    assert len(texts) == 1


def run_wheel_program(name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(Path(__file__).parent / "wheel" / name)],
        capture_output=True,
        text=True,
        timeout=60,
        env=script_environment(),
    )


def test_the_program_that_tries_a_wheel_passes() -> None:
    done = run_wheel_program("smoke.py")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.startswith("smoke: golib ")


def test_the_program_that_tries_a_wheels_exit_ends_with_its_own_status() -> None:
    done = run_wheel_program("exit.py")
    assert (done.returncode, done.stderr) == (7, ""), done


def test_the_check_of_a_release_says_what_is_left_for_a_person() -> None:
    command = [sys.executable, str(ROOT / ".ci" / "release-check"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, 1) and done.stderr == "", done
    assert "Left for a person:" in done.stdout and "cargo publish --package go-lib" in done.stdout
    verdicts = [
        line[:4].strip() for line in done.stdout.splitlines() if line[:4] in ("ok  ", "FAIL")
    ]
    assert len(verdicts) >= 5 and ("FAIL" in verdicts) == (done.returncode == 1)
