//! Texts for the person about measurements that were refused.

/// Texts for the person, each kind once.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    given: Vec<Notice>,
    waiting: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    PeakRefused,
    GpuRefused,
    NoAnswer,
    SlowChildren,
}

impl Notices {
    /// Keeps a text unless one of its kind was given before.
    pub(crate) fn once(&mut self, notice: Notice, text: impl FnOnce() -> String) {
        if !self.given.contains(&notice) {
            self.given.push(notice);
            self.waiting.push(text());
        }
    }

    /// The texts since the last call.
    pub(crate) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_given_once() {
        let mut notices = Notices::default();
        notices.once(Notice::NoAnswer, || "a".into());
        notices.once(Notice::NoAnswer, || "b".into());
        assert_eq!(notices.take(), ["a"]);
        notices.once(Notice::NoAnswer, || "c".into());
        assert!(notices.take().is_empty());
    }
}
