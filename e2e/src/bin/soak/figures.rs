//! What the server held, as tests: one line for each figure.

use crate::server::Report;

/// How much more memory there may be in the end, in per cent of what there was after the first lives.
const MORE: f64 = 10.0;

/// The flusher's workers, one for each of the runtime's, and the timers.
pub(crate) const TASKS: usize = 3;

/// How the clients fared.
pub(crate) struct Lives {
    pub(crate) cycles: u64,
    pub(crate) wrong: u64,
}

#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    run: &'static str,
}

impl Report {
    /// Whether nothing of any client is left, and no more than so many tasks.
    pub(crate) fn is_idle(&self, tasks: usize) -> bool {
        let left = [self.connections, self.sockets, self.rooms, self.timers, self.acks, self.waiting];
        left == [0; 6] && self.tasks <= tasks
    }
}

impl Figures {
    /// The figures of another run follow.
    pub(crate) fn begin(&mut self, run: &'static str) {
        self.run = run;
    }

    /// Compares what there is with what there was before any client came, and after the first ones.
    pub(crate) fn judge(
        &mut self,
        lives: &Lives,
        before: &Report,
        first: &Report,
        last: &Report,
        recovery: bool,
    ) {
        let Lives { cycles, wrong } = *lives;
        self.check(
            wrong == 0,
            &format!("{} of {cycles} clients were served as they should be", cycles - wrong),
        );
        self.check(before.tasks == 0, &format!("{} tasks before the first client", before.tasks));
        let tasks = [first.tasks, last.tasks];
        self.check(
            tasks == [TASKS; 2],
            &format!("{tasks:?} tasks, of {TASKS} that the server has for itself"),
        );
        self.check(last.files <= first.files, &format!("{} open files, {} before", last.files, first.files));
        self.check(
            last.namespaces == before.namespaces,
            &format!("{} namespaces, {} before", last.namespaces, before.namespaces),
        );
        for (left, what) in [
            (last.connections, "connections"),
            (last.sockets, "sockets"),
            (last.rooms, "rooms"),
            (last.timers, "timers"),
            (last.acks, "pending acks"),
            (last.waiting, "waiting handlers"),
        ] {
            self.check(left == 0, &format!("{left} {what}"));
        }
        let Report { opened, closed, panics, recovered, .. } = *last;
        self.check(opened == closed && opened > 0, &format!("{opened} sessions began, {closed} ended"));
        self.check(panics == 0, &format!("{panics} panics"));
        if recovery {
            self.check(recovered > 0, &format!("{recovered} sockets came back to their state"));
        }
        for (what, first, last) in
            [("resident", first.resident, last.resident), ("allocated", first.heap, last.heap)]
        {
            let [first, last] = [first, last].map(|bytes| bytes as f64 / 1e6);
            let more = (last / first - 1.0) * 100.0;
            let figures = format!("{first:.3} MB {what} after the first clients, {last:.3} MB in the end");
            self.check(first > 0.0 && more <= MORE, &format!("{figures}: {more:+.1} %"));
        }
    }

    fn check(&mut self, holds: bool, what: &str) {
        if holds {
            self.passed += 1;
            println!("ok      {}: {what}", self.run);
        } else {
            self.failed += 1;
            println!("FAILED  {}: {what}", self.run);
        }
    }
}
