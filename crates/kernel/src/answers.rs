//! Requests that are answered without the agent.

use crate::Kernel;
use crate::death::Life;
use crate::info;
use wire::Incoming;

impl Kernel {
    pub(crate) fn kernel_info(&mut self, request: Incoming) {
        if matches!(self.life, Life::Starting) && self.setup_version().is_none() && !self.greeting_is_over() {
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
        );
        self.answer(request, &content);
    }

    fn setup_version(&self) -> Option<&str> {
        self.greeting.as_ref().map(|greeting| greeting.version.as_str())
    }

    fn greeting_is_over(&self) -> bool {
        self.greeting_over
    }

    /// Memory and CPU of the interpreter's process tree, with ipykernel's fields: jupyter-resource-usage shows them.
    pub(crate) fn usage(&mut self, request: &Incoming) {
        let Some(pid) = self.interpreter.as_ref().map(interpreter::Interpreter::pid) else {
            self.answer(request, &crate::publish::error("InterpreterMissing", "there is no interpreter to measure"));
            return;
        };
        let options = meter::Options { gpu: false, ..meter::Options::default() };
        let meter = self.usage.get_or_insert_with(|| meter::Meter::new(pid, options));
        match serde_json::to_value(meter.usage()) {
            Ok(content) => self.answer(request, &content),
            Err(error) => self.answer(request, &crate::publish::error("UsageError", &error.to_string())),
        }
    }
}
