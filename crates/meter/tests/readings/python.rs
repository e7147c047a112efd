//! A child Python that runs what it is told, a line at a time.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// Runs each line in one namespace and answers with `repr(answer)`, on one line.
const LOOP: &str = r"
import sys
space = {}
for line in sys.stdin:
    space['answer'] = None
    exec(line.encode().decode('unicode_escape'), space)
    print(repr(space['answer']), flush=True)
";

/// A running Python; killed with all that it started when dropped.
pub struct Python {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Python {
    /// Starts one (`PYTHON`, or `python3`) that is ready when this returns.
    pub fn start() -> Self {
        let program = env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
        let mut process = Command::new(program)
            .args(["-I", "-c", LOOP])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("these tests need a python3, or one that PYTHON names");
        let mut python = Self {
            stdin: process.stdin.take().unwrap(),
            stdout: BufReader::new(process.stdout.take().unwrap()),
            process,
        };
        python.run("import mmap, os, resource, signal, time");
        python
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Runs statements and returns what they put into `answer`.
    pub fn run(&mut self, code: &str) -> String {
        self.tell(code);
        let mut answer = String::new();
        self.stdout.read_line(&mut answer).unwrap();
        assert!(!answer.is_empty(), "Python ended while it ran {code:?}");
        answer.trim_end().to_owned()
    }

    /// Runs an expression that is a number.
    pub fn number(&mut self, expression: &str) -> u64 {
        let answer = self.run(&format!("answer = {expression}"));
        answer
            .parse()
            .unwrap_or_else(|_| panic!("{expression} is {answer}"))
    }

    /// Kills it and all that it started, and waits for its end.
    pub fn kill(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            // SAFETY: kill takes two numbers. The group has the child's number, and the child was not waited for, so
            // that number is still its own.
            unsafe { libc::kill(-(self.process.id() as i32), libc::SIGKILL) };
            self.process.wait().unwrap();
        }
    }

    fn tell(&mut self, code: &str) {
        let line: String = code.escape_default().collect();
        writeln!(self.stdin, "{line}").unwrap();
        self.stdin.flush().unwrap();
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.kill();
    }
}
