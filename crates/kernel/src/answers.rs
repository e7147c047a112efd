//! Requests that are answered without the agent.

use crate::Kernel;
use crate::death::Life;
use crate::info;
use crate::publish::error;
use wire::Incoming;

impl Kernel {
    pub(crate) fn kernel_info(&mut self, request: Incoming) {
        if matches!(self.life, Life::Starting)
            && self.setup_version().is_none()
            && !self.greeting_is_over()
        {
            self.curious.push(request);
        } else {
            self.answer_info(&request);
        }
    }

    /// Answers those that asked before Python said its version.
    pub(crate) fn satisfy_curiosity(&mut self) {
        self.greeting_over = true;
        for request in std::mem::take(&mut self.curious) {
            self.answer_info(&request);
        }
    }

    fn answer_info(&self, request: &Incoming) {
        let greeting = self.greeting.as_ref();
        let content = info::content(
            self.setup.version,
            greeting.map(|greeting| greeting.python.as_str()),
            greeting.map(|greeting| greeting.version.as_str()),
            greeting.is_some_and(|greeting| greeting.debugger),
        );
        self.answer(request, &content);
    }

    fn setup_version(&self) -> Option<&str> {
        self.greeting
            .as_ref()
            .map(|greeting| greeting.version.as_str())
    }

    fn greeting_is_over(&self) -> bool {
        self.greeting_over
    }

    /// Memory and CPU of the interpreter's process tree, with ipykernel's fields: jupyter-resource-usage shows them.
    pub(crate) fn ask_usage(&mut self, request: Incoming) {
        match self.interpreter.as_ref().map(interpreter::Interpreter::pid) {
            Some(pid) => self.usage.ask(pid, request),
            None => self.answer(
                &request,
                &error("InterpreterMissing", "there is no interpreter to measure"),
            ),
        }
    }

    pub(crate) fn answer_usage(&self, request: &Incoming, usage: meter::Usage) {
        match serde_json::to_value(usage) {
            Ok(content) => self.answer(request, &content),
            Err(problem) => self.answer(request, &error("UsageError", &problem.to_string())),
        }
    }
}
