//! What Python's `faulthandler` wrote of a crash, cut down to the person's own frames.

/// A crash as `faulthandler` saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fault {
    /// As in "Segmentation fault".
    pub reason: String,
    /// Innermost first; ours and IPython's left out.
    pub frames: Vec<String>,
    /// There were more frames than are written.
    pub is_deep: bool,
    /// The thread that crashed ran no Python code.
    pub is_native: bool,
}

const HEAD: &str = "Fatal Python error: ";
/// A stack that is shown is no longer than this.
const SHOWN: usize = 30;

impl Fault {
    /// Reads the last crash in a text, since forked workers may have written before. `label` stands for the cell that ran.
    pub(crate) fn parse(text: &str, label: &str) -> Option<Self> {
        let text = &text[text.rfind(HEAD)? + HEAD.len()..];
        let mut lines = text.lines();
        let mut fault = Self {
            reason: lines.next().unwrap_or_default().trim().to_owned(),
            ..Self::default()
        };
        // One section a thread, the newest first.
        let mut sections: Vec<Section<'_>> = Vec::new();
        for line in lines {
            let is_current = line.starts_with("Current thread ");
            if (is_current || line.starts_with("Thread "))
                && line.contains("most recent call first")
            {
                sections.push(Section {
                    is_current,
                    ..Section::default()
                });
            } else if line.is_empty() {
                continue;
            } else if let Some(section) = sections.last_mut().filter(|section| !section.is_over) {
                match line.trim() {
                    "..." => section.is_deep = true,
                    "<no Python frame>" => {}
                    _ if line.starts_with("  File ") => section.frames.extend(Frame::parse(line)),
                    _ => section.is_over = true, // what follows is not of a thread
                }
            }
        }
        let current = sections.iter().find(|section| section.is_current);
        fault.is_native = current.is_some_and(|section| section.frames.is_empty());
        // Where the thread that crashed ran no Python code, the main one, which is written last, is better than none.
        let told = current.filter(|_| !fault.is_native).or(sections.last());
        let Some(section) = told else {
            return Some(fault);
        };
        fault.is_deep = section.is_deep;
        fault.frames = shown(&section.frames, label);
        Some(fault)
    }

    /// True if the same few lines call each other again and again until the end of what is written.
    pub(crate) fn is_recursion(&self) -> bool {
        let mut different: Vec<&String> = self.frames.iter().collect();
        different.sort();
        different.dedup();
        self.is_deep && different.len() <= SHOWN / 2
    }
}

/// What is written of one thread.
#[derive(Default)]
struct Section<'a> {
    is_current: bool,
    is_deep: bool,
    is_over: bool,
    frames: Vec<Frame<'a>>,
}

struct Frame<'a> {
    file: &'a str,
    line: &'a str,
    function: &'a str,
}

impl<'a> Frame<'a> {
    /// `  File "/a.py", line 3 in f`
    fn parse(line: &'a str) -> Option<Self> {
        let rest = line.trim().strip_prefix("File \"")?;
        let (file, rest) = rest.rsplit_once("\", line ")?;
        let (line, function) = rest.split_once(" in ")?;
        Some(Self {
            file,
            line,
            function,
        })
    }

    fn is_ours(&self) -> bool {
        self.file.starts_with("<rust-hygiene>") || self.file == "<string>"
    }

    /// The step of IPython's that runs the person's code.
    fn runs_cells(&self) -> bool {
        self.function == "run_code" && self.file.ends_with("interactiveshell.py")
    }
}

fn shown(frames: &[Frame<'_>], label: &str) -> Vec<String> {
    let end = frames
        .iter()
        .position(Frame::runs_cells)
        .unwrap_or(frames.len());
    let frames: Vec<&Frame<'_>> = frames[..end]
        .iter()
        .filter(|frame| !frame.is_ours())
        .collect();
    // What IPython's step has called is the cell itself.
    let cell = frames
        .last()
        .map(|frame| frame.file)
        .filter(|file| file.contains("/ipykernel_"));
    frames
        .into_iter()
        .take(SHOWN)
        .map(|frame| {
            let file = if Some(frame.file) == cell {
                label
            } else {
                frame.file
            };
            format!("{file}, line {}, in {}", frame.line, frame.function)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGFAULT: &str = r#"Fatal Python error: Aborted

Thread 0x1 (most recent call first):
  File "/worker.py", line 1 in w

Fatal Python error: Segmentation fault

Thread 0x2 (most recent call first):
  File "<rust-hygiene>/rust_hygiene_agent/door.py", line 33 in serve

Current thread 0x00007f0c (most recent call first):
  File "/usr/lib/python3.11/ctypes/__init__.py", line 517 in string_at
  File "/tmp/ipykernel_12/345.py", line 2 in f
  File "/tmp/ipykernel_12/345.py", line 4 in <module>
  File "/lib/IPython/core/interactiveshell.py", line 3577 in run_code
  File "<rust-hygiene>/rust_hygiene_agent/cells.py", line 70 in _execute

Extension modules: numpy (total: 1)
"#;

    #[test]
    fn the_last_crash_is_shown_by_the_frames_of_the_person() {
        let fault = Fault::parse(SEGFAULT, "Cell In[7]").unwrap();
        assert_eq!(fault.reason, "Segmentation fault");
        assert_eq!(
            fault.frames,
            [
                "/usr/lib/python3.11/ctypes/__init__.py, line 517, in string_at",
                "Cell In[7], line 2, in f",
                "Cell In[7], line 4, in <module>",
            ]
        );
        assert!(!fault.is_recursion() && !fault.is_native);
    }

    #[test]
    fn a_stack_without_end_is_a_recursion() {
        let line = "  File \"/tmp/ipykernel_1/2.py\", line 3 in __repr__\n";
        let text = format!(
            "{HEAD}Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n{}  ...\n",
            line.repeat(100)
        );
        let fault = Fault::parse(&text, "Cell In[1]").unwrap();
        assert!(fault.is_recursion());
        assert_eq!(fault.frames.len(), SHOWN);
        assert_eq!(fault.frames[0], "Cell In[1], line 3, in __repr__");
    }

    #[test]
    fn a_thread_without_python_leaves_the_stack_of_the_next() {
        let text = format!(
            "{HEAD}Aborted\n\nCurrent thread 0x1 (most recent call first):\n  <no Python frame>\n\n\
             Thread 0x2 (most recent call first):\n  File \"a.py\", line 1 in g\n"
        );
        let fault = Fault::parse(&text, "").unwrap();
        assert!(fault.is_native);
        assert_eq!(fault.frames, ["a.py, line 1, in g"]);
    }

    #[test]
    fn nonsense_is_no_crash_and_never_a_panic() {
        assert_eq!(Fault::parse("", ""), None);
        assert_eq!(Fault::parse("Thread 0x1\n", ""), None);
        let odd = Fault::parse(
            "Fatal Python error: x\nCurrent thread  most recent call first\n  File \"a, line\n",
            "",
        );
        assert_eq!(odd.unwrap().frames, Vec::<String>::new());
    }
}
