"""`manage.py doctor`: looks at everything a first day trips over, and says how to mend what it finds."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.utils.module_loading import import_string

from workspaces.runtime.findings import Finding

MARKS = {"ok": ("ok     ", "SUCCESS"), "warning": ("warning", "WARNING"), "error": ("ERROR  ", "ERROR")}


class Command(BaseCommand):
    """Exit status 1 where anything is an error. Changes nothing."""

    help = "Check keys, database, broker, heartbeat, public URL and providers, and say how to mend each."
    requires_system_checks = ()  # a broken setting is what this command is for

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the findings as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = [finding for path in settings.DOCTOR_CHECKS for finding in import_string(path)()]
        if options["json"]:
            self.stdout.write(json.dumps([finding.as_json() for finding in findings], indent=2))
        else:
            self._print(findings)
        if any(finding.level == "error" for finding in findings):
            sys.exit(1)

    def _print(self, findings: list[Finding]) -> None:
        for finding in findings:
            mark, style = MARKS[finding.level]
            self.stdout.write(f"{getattr(self.style, style)(mark)} {finding.subject}: {finding.what}")
            if finding.mend:
                self.stdout.write(f"        → {finding.mend}")
