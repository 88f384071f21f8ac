"""All mutants: `python -m tests.mutants [WORD …]` runs those whose name has one of the words."""

import sys
import time

from tests.mutants.run import NotApplicable, is_imported, package_of, run_tests, survives
from tests.mutants.table import MUTANTS, Mutant


def main(words: list[str]) -> int:
    """The number of mutants that no test noticed."""
    chosen = [each for each in MUTANTS if not words or any(word in each.name for word in words)]
    if not _passes_unmutated(chosen):
        return 1
    began_s = time.monotonic()
    survivors: list[str] = []
    for number, mutant in enumerate(chosen, 1):
        try:
            why = survives(mutant)
            verdict = "killed" if why is None else "SURVIVED"
        except NotApplicable as error:
            why, verdict = str(error), "OUTDATED"
        print(f"[{number:3}/{len(chosen)}] {verdict:8} {mutant.name}", flush=True)
        if why is not None:
            survivors.append(mutant.name)
            print(why, flush=True)
    took_s = time.monotonic() - began_s
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants killed in {took_s:.0f} s")
    for name in survivors:
        print(f"  not killed: {name}")
    return len(survivors)


def _passes_unmutated(chosen: list[Mutant]) -> bool:
    """Whether the tests pass on the product as it is, and mutants are what they run against."""
    with package_of(chosen[0]) as package:
        if not is_imported(package):
            print("the mutated package is not the one that tests import")
            return False
    tests = sorted({mutant.test for mutant in chosen})
    print(f"{len(tests)} tests on the product as it is …", flush=True)
    code, output = run_tests(tests)
    if code != 0:
        print(output[-4_000:])
    return code == 0


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
