"""What must hold, whatever happened: the history against what the cloud alone knows."""

from __future__ import annotations

from dataclasses import dataclass

from backups.choices import RunState
from tests.timelines.cloud import Job, Made
from tests.timelines.driver import Driver, Row
from tests.timelines.script import LATEST, Death

# How far a window may reach past what truly happened: `Date` has whole seconds, and a tolerance.
PRECISE = 8.0
LONGEST_EXCHANGE = 65.0  # CSS_CONNECT_TIMEOUT and CSS_TOTAL_TIMEOUT
ASSUMED_SKEW = 290.0  # BACKUP_CLOCK_SKEW, which stands in where there is no `Date`
# Without a `Date` a rival counts from twice the skew (BACKUP_CLOCK_SKEW), the time for which it may
# still be processed (BACKUP_SETTLE_GRACE) and the tolerance.
RIVAL_MORE = 310.0


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken, and how."""

    promise: str
    what: str


class Broken(AssertionError):
    """The timeline broke promises."""

    def __init__(self, violations: list[Violation]) -> None:
        super().__init__("; ".join(f"{v.promise}: {v.what}" for v in violations))
        self.violations = violations


class Judge:
    """Compares the history of a played timeline with the truth."""

    def __init__(self, driver: Driver) -> None:
        self.cloud, self.world = driver.cloud, driver.timeline.world
        self.rows, self.seen = driver.rows(), driver.seen
        offsets = [self.world.cloud_offset - ours for ours in driver.offsets]
        self.apart = max(map(abs, offsets))
        self.stepped = len(driver.offsets) > 1
        dated = self.world.date == "right"
        self.slack = PRECISE if dated else ASSUMED_SKEW + self.apart + PRECISE
        # without a `Date` the clocks differ by no more than the skew, and ours goes evenly
        undated = self.world.date == "missing"
        self.assumed = dated or (undated and not self.stepped and self.apart < ASSUMED_SKEW)
        by_id = {key: job for job in self.cloud.jobs for key in (job.job_id, job.record_id)}
        self.job_of = {row.pk: by_id.get(row.job_id or "") for row in self.rows}

    def check(self) -> None:
        """Raises Broken."""
        found = [
            *self.no_row_shares_its_job(),
            *self.evidence_is_true(),
            *self.nothing_is_missed(),
            *self.nothing_is_called_the_consoles(),
            *self.not_started_was_not_too_early(),
            *self.no_post_before_the_last_has_ended(),
            *self.all_have_ended(),
        ]
        if found:
            raise Broken(found)

    def no_row_shares_its_job(self) -> list[Violation]:
        by_job: dict[int, list[int]] = {}
        for row in self.rows:
            if job := self.job_of[row.pk]:
                by_job.setdefault(job.number, []).append(row.pk)
        return [
            Violation("one job has one row", f"job {number} in runs {runs}")
            for number, runs in by_job.items()
            if len(runs) > 1
        ]

    def evidence_is_true(self) -> list[Violation]:
        found = []
        for row in self.ours():
            job = self.job_of[row.pk]
            if job is None:
                continue
            if row.evidence is not None and row.evidence not in ("proven", "inferred"):
                found.append(Violation("a job has its evidence", f"run {row.pk}: {row.evidence!r}"))
            if self.was_listed_before(job, row):
                what = f"run {row.pk} carries job {job.number}"
                found.append(Violation("what was listed before a POST is not its job", what))
            maker = None if job.maker is None else self.cloud.posts[job.maker]
            accepted = next((p for p in self.posts_of(row) if p.accepted), None)
            if maker is not None and maker.run == row.pk:
                if accepted is not None and maker is not accepted:
                    what = f"run {row.pk} carries the job of its POST {maker.number}"
                    found.append(Violation("the accepted POST's job counts", what))
                continue
            what = f"run {row.pk} ({row.state}, {row.evidence}) carries job {job.number} of "
            what += "an outsider" if maker is None else f"POST {maker.number} of run {maker.run}"
            # A `Date` that is off by minutes, and that no record contradicts, is beyond what is
            # assumed (docs/run-states.md), and so is our own clock where there is none: what is
            # proven must hold all the same.
            undated = self.world.date == "missing"
            beyond = self.world.date == "wrong" or (undated and self.apart > 2 * ASSUMED_SKEW + 20)
            if beyond and row.evidence == "inferred":
                continue
            if maker is not None:
                found.append(Violation("no run carries another POST's job", what))
            elif row.evidence == "proven":
                found.append(Violation("proven is never wrong", what))
            elif job.auto or not any(self.within(job, post) for post in self.posts_of(row)):
                found.append(Violation("inferred is wrong only by an outsider in the window", what))
        return found

    def nothing_is_missed(self) -> list[Violation]:
        found = []
        for row in self.ours():
            if self.job_of[row.pk] is not None or not self.assumed:
                continue
            if row.state not in (RunState.NOT_STARTED, RunState.UNVERIFIED):
                continue
            for post in self.posts_of(row):
                unanswered = not post.accepted or post.script.death is not Death.NOWHERE
                if unanswered and not post.baseline_read and self.apart > ASSUMED_SKEW:
                    continue  # our own clock had to do, and it is off by more than is assumed
                if post.job is not None and not self.is_ambiguous(post, post.job):
                    what = f"run {row.pk} is {row.state}, POST {post.number} made job {post.job.number}"
                    found.append(Violation("no false word is left at the end", what))
        return found

    def nothing_is_called_the_consoles(self) -> list[Violation]:
        found = []
        for row in self.rows:
            job = self.job_of[row.pk]
            if row.trigger != "cloud" or job is None or job.maker is None or not self.assumed:
                continue
            maker = self.cloud.posts[job.maker]
            mistaken = any(self.job_of[r.pk] for r in self.rows if r.pk == maker.run)
            if row.requested_by_name == "someone in the console" and not mistaken:
                what = f"job {job.number} of POST {job.maker}, row {row.pk}"
                found.append(Violation("our job is not called the console's", what))
        return found

    def not_started_was_not_too_early(self) -> list[Violation]:
        found = []
        for seen in self.seen:
            if seen.row.state != RunState.NOT_STARTED or not self.time_is_known():
                continue
            for post in self.posts_of(seen.row):
                if post.script.silent or post.script.death is not Death.NOWHERE:
                    continue  # nobody knows when a dead worker's request ended: it is corrected
                if post.job is not None and post.job.created > seen.at:
                    what = f"run {seen.row.pk} at {seen.at:.1f}, job {post.job.number} came after"
                    found.append(Violation("not started is said when nothing can start", what))
        return found

    def no_post_before_the_last_has_ended(self) -> list[Violation]:
        found = []
        for before, after in zip(self.cloud.posts, self.cloud.posts[1:], strict=False):
            late = before.job is not None and before.job.created > after.sent
            if late and not after.refused and self.time_is_known():
                what = f"POST {after.number} at {after.sent:.1f}, POST {before.number} made its job after"
                found.append(Violation("windows of POSTs do not overlap", what))
        return found

    def all_have_ended(self) -> list[Violation]:
        return [
            Violation("every run ends", f"run {row.pk} is still {row.state}")
            for row in self.ours()
            if row.state in (RunState.QUEUED, RunState.SENDING)
        ]

    # -- the truth -----------------------------------------------------------------------------

    def ours(self) -> list[Row]:
        return [row for row in self.rows if row.trigger != "cloud"]

    def posts_of(self, row: Row) -> list[Made]:
        return [post for post in self.cloud.posts if post.run == row.pk]

    def was_listed_before(self, job: Job, row: Row) -> bool:
        """Whether every POST of a run was sent when a job was listed already."""
        sent = [post for post in self.posts_of(row) if not post.refused]
        return bool(sent) and all(p.baseline_read and job.listed <= p.baseline_from for p in sent)

    def within(self, job: Job, post: Made, more: float = 0.0) -> bool:
        """Whether a job was made when, as far as anybody can know, a POST can have made one."""
        until = post.until
        if post.script.death in (Death.FENCED, Death.SENT):  # nobody saw how long it took
            until = max(until, post.sent + LONGEST_EXCHANGE)
        if not post.accepted:  # only a reading after it tells how late it is by the cloud's clock
            until = next((at for at in self.cloud.reads if at > until), until) + LATEST + 10.0
        since = post.baseline_from
        if not post.baseline_read:  # then our own clock has to do
            since -= ASSUMED_SKEW + self.apart
        slack = self.slack + more
        return since - slack <= job.created <= until + slack

    def is_ambiguous(self, post: Made, job: Job) -> bool:
        """Whether nobody can tell that a POST made its job."""
        others = [j for j in self.cloud.jobs if j is not job and not j.auto]
        undated = self.world.date == "missing"
        rivals = [  # those whose own job is not known, or may be an outsider's
            p
            for p in self.cloud.posts
            if p is not post
            and not p.refused
            and (undated or not p.job or self.job_of[p.run] is not p.job)
        ]
        more = RIVAL_MORE if undated else 0.0
        return any(self.within(other, post) for other in others) or any(
            self.within(job, rival, more) for rival in rivals
        )

    def time_is_known(self) -> bool:
        """Whether some clock tells how much time has passed."""
        return self.world.date != "missing" or not self.stepped
