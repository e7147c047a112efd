//! Subshells: further threads of the interpreter that take shell requests while the main one is busy (JEP 91).
//!
//! Each has a queue of its own and is given one request at a time, as the main shell is. Its requests go down a line of its
//! own; what it says comes up the channel, with the number of the request. Cells of subshells are not measured: memory is
//! of the process, and whose share is whose cannot be known.

use crate::Kernel;
use crate::agent::Envelope;
use crate::cell::ReplyMetadata;
use crate::content::Execute;
use crate::death::Life;
use crate::publish::EMPTY;
use crate::publish::error;
use crate::publish::to_bytes;
use crate::requests::Extras;
use crate::requests::MOST_WAITING;
use crate::requests::is_comm;
use crate::requests::type_of_reply;
use crate::stdin::Asker;
use crate::subshell_life::Subshells;
use bytes::Bytes;
use interpreter::Line;
use serde_json::json;
use std::collections::HashMap;
use std::collections::VecDeque;
use wire::Inbox;
use wire::Incoming;

/// A subshell.
pub(crate) struct Subshell {
    pub(crate) id: String,
    line: Line,
    pub(crate) queue: VecDeque<Incoming>,
    pub(crate) task: Option<Task>,
    /// Comm messages that it takes while an async cell waits.
    pub(crate) comms: HashMap<u64, Incoming>,
    /// It was deleted and finishes what it does.
    pub(crate) deleted: bool,
}

/// The request in a subshell's hand.
pub(crate) struct Task {
    pub(crate) number: u64,
    pub(crate) request: Incoming,
    /// Of a cell: its content, and when it began.
    cell: Option<(Execute, String)>,
    /// Of a cell: its number.
    count: Option<u64>,
    waits_for_events: bool,
    /// What the agent answered, until it is passed on.
    pub(crate) answer: Option<Answer>,
}

pub(crate) struct Answer {
    envelope: Envelope,
    metadata: Bytes,
    content: Bytes,
    buffers: Vec<Bytes>,
}

impl Subshell {
    pub(crate) fn new(id: String, line: Line) -> Self {
        Self {
            id,
            line,
            queue: VecDeque::new(),
            task: None,
            comms: HashMap::new(),
            deleted: false,
        }
    }

    /// True while it has nothing in hand.
    pub(crate) fn is_free(&self) -> bool {
        self.task.is_none() && self.comms.is_empty()
    }
}

impl Subshells {
    pub(crate) fn find(&mut self, id: &str) -> Option<&mut Subshell> {
        self.living
            .iter_mut()
            .find(|subshell| subshell.id == id && !subshell.deleted)
    }

    fn with_task(&mut self, number: u64) -> Option<&mut Subshell> {
        self.living.iter_mut().find(|subshell| {
            subshell
                .task
                .as_ref()
                .is_some_and(|task| task.number == number)
        })
    }

    /// The request with this number.
    pub(crate) fn request(&self, number: u64) -> Option<&Incoming> {
        let tasks = self
            .living
            .iter()
            .filter_map(|subshell| subshell.task.as_ref());
        tasks
            .filter(|task| task.number == number)
            .map(|task| &task.request)
            .next()
    }

    /// True if a subshell has the request with this number in hand.
    pub(crate) fn have(&self, number: u64) -> bool {
        self.request(number).is_some()
            || self
                .living
                .iter()
                .any(|subshell| subshell.comms.contains_key(&number))
    }

    /// Sends a frame to the subshell that has the request with this number.
    pub(crate) fn send(&mut self, number: u64, sections: &[Bytes]) {
        if let Some(subshell) = self.with_task(number) {
            subshell.line.send(sections);
        }
    }

    /// A cell awaits something; false if no subshell has it.
    pub(crate) fn waits_for_events(&mut self, number: u64) -> bool {
        let task = self
            .with_task(number)
            .and_then(|subshell| subshell.task.as_mut());
        task.map(|task| task.waits_for_events = true).is_some()
    }

    /// True while a cell runs in one of them.
    pub(crate) fn run_a_cell(&self) -> bool {
        self.living
            .iter()
            .filter_map(|subshell| subshell.task.as_ref())
            .any(|task| task.cell.is_some())
    }

    /// Lets go of those that were deleted and are done.
    pub(crate) fn drop_deleted(&mut self) {
        self.living
            .retain(|subshell| !subshell.deleted || !subshell.is_free());
    }

    pub(crate) fn are_none(&self) -> bool {
        self.living.is_empty()
    }
}

impl Kernel {
    /// A shell request whose header names a subshell.
    pub(crate) fn subshell_request(&mut self, id: &str, request: Incoming) {
        let Some(subshell) = self.subshells.find(id) else {
            self.answer(&request, &unknown(id));
            return;
        };
        let serves_comms = subshell
            .task
            .as_ref()
            .is_some_and(|task| task.waits_for_events && task.answer.is_none());
        if serves_comms && is_comm(&request) {
            self.last_id += 1;
            let number = self.last_id;
            subshell.line.send(&sections(number, &request, None));
            self.begin_busy(&request);
            if let Some(subshell) = self.subshells.find(id) {
                subshell.comms.insert(number, request);
            }
        } else if subshell.queue.len() >= MOST_WAITING {
            let text = format!("{MOST_WAITING} requests are waiting already; this one is refused");
            self.answer(&request, &error("QueueFull", &text));
        } else {
            subshell.queue.push_back(request);
        }
    }

    /// Passes on what subshells answered, and gives those that are free their next request.
    pub(crate) async fn pump_subshells(&mut self, inbox: &mut Inbox) {
        for at in 0..self.subshells.living.len() {
            let task = self.subshells.living[at].task.as_mut();
            let Some(answer) = task.and_then(|task| task.answer.take()) else {
                continue;
            };
            let mut doomed = Vec::new();
            let cell = self.subshells.living[at]
                .task
                .as_ref()
                .and_then(|task| task.cell.as_ref());
            if answer.envelope.status == "error"
                && cell.is_some_and(|(content, _)| !content.silent && content.stops_on_error())
            {
                self.let_arrive(inbox).await;
                let queue = &mut self.subshells.living[at].queue;
                let (cells, others) = std::mem::take(queue)
                    .into_iter()
                    .partition::<Vec<_>, _>(|waits| waits.header.msg_type == "execute_request");
                *queue = others.into();
                doomed = cells;
            }
            if let Some(task) = self.subshells.living[at].task.take() {
                self.forget_question(Asker::Subshell(task.number));
                self.pass_on(&task, answer);
            }
            for request in doomed {
                self.answer(&request, &self.aborted());
            }
        }
        self.subshells.drop_deleted();
        if matches!(self.life, Life::Ready) {
            for at in 0..self.subshells.living.len() {
                while self.subshells.living[at].task.is_none()
                    && let Some(request) = self.subshells.living[at].queue.pop_front()
                {
                    self.begin_in_subshell(at, request);
                }
            }
        }
    }

    fn begin_in_subshell(&mut self, at: usize, request: Incoming) {
        let is_cell = request.header.msg_type == "execute_request";
        let mut cell = None;
        if is_cell {
            match Execute::parse(&request.content) {
                Ok(content) => cell = Some((content, wire::now())),
                Err(text) => {
                    self.answer(&request, &self.bad_cell("ValueError", &text));
                    return;
                }
            }
        }
        self.last_id += 1;
        let number = self.last_id;
        let header = request.origin.header.clone();
        let count = cell
            .as_ref()
            .map(|(content, _)| self.number_of_cell(content.stores_history()));
        let frame = sections(number, &request, count);
        self.subshells.living[at].line.send(&frame);
        self.begin_busy(&request);
        if let Some((content, _)) = &cell {
            match &mut self.cell {
                Some(other) => other.shares_memory(),
                // What C code and threads print belongs to the newest cell, but never to another than the one in hand.
                None => self.text_parent = Some(header.clone()),
            }
            self.begin_text(&request, content);
            if !content.silent {
                let input = json!({"code": content.code, "execution_count": count});
                self.outbox.publish(
                    "execute_input",
                    Some(&header),
                    EMPTY,
                    to_bytes(&input),
                    Vec::new(),
                );
            }
        }
        self.subshells.living[at].task = Some(Task {
            number,
            request,
            cell,
            count,
            waits_for_events: false,
            answer: None,
        });
    }

    /// Takes the agent's reply to a request of a subshell.
    pub(crate) fn subshell_replied(
        &mut self,
        envelope: Envelope,
        metadata: Bytes,
        content: Bytes,
        buffers: Vec<Bytes>,
    ) {
        let comm = self
            .subshells
            .living
            .iter_mut()
            .find_map(|subshell| subshell.comms.remove(&envelope.id));
        if let Some(comm) = comm {
            self.idle(&comm);
            return;
        }
        let subshell = self.subshells.with_task(envelope.id);
        if let Some(task) = subshell.and_then(|subshell| subshell.task.as_mut()) {
            task.answer = Some(Answer {
                envelope,
                metadata,
                content,
                buffers,
            });
        }
    }

    /// The agent gave a comm message back: it is for `subshell`, or for the main shell if that is empty.
    pub(crate) fn move_comm(&mut self, number: u64, subshell: &str) {
        let request = self.forwarded.remove(&number).or_else(|| {
            self.subshells.living.iter_mut().find_map(|subshell| {
                let task = subshell.task.take_if(|task| task.number == number);
                task.map(|task| task.request)
                    .or_else(|| subshell.comms.remove(&number))
            })
        });
        let Some(request) = request else {
            return;
        };
        self.moved.push(request.header.msg_id.clone());
        if self.subshells.find(subshell).is_some() {
            self.subshell_request(subshell, request);
        } else {
            self.main_request(request);
        }
    }

    /// The number of a cell that begins. Cells may run at once, so they are counted here once there are subshells.
    pub(crate) fn number_of_cell(&mut self, stored: bool) -> u64 {
        let uncounted = self
            .cell
            .as_ref()
            .is_some_and(|cell| cell.count.is_none() && cell.stores_history());
        let number = self.execution_count + u64::from(uncounted);
        self.execution_count = self.execution_count.max(number + u64::from(stored));
        number
    }

    /// A cell is over: `next` is the next number as its shell has it, which the cell may have changed.
    pub(crate) fn counted(&mut self, count: Option<u64>, next: Option<u64>) {
        let Some(next) = next else {
            return;
        };
        let ordinary = count.is_some_and(|count| next == count || next == count + 1);
        if !ordinary {
            self.execution_count = next;
        }
    }

    /// Publishes `busy`, once for a request that was moved.
    pub(crate) fn begin_busy(&mut self, request: &Incoming) {
        let id = &request.header.msg_id;
        match self.moved.iter().position(|moved| moved == id) {
            Some(at) => drop(self.moved.swap_remove(at)),
            None => self.busy(request),
        }
    }

    pub(crate) fn pass_on(&mut self, task: &Task, answer: Answer) {
        self.flush_unfinished_text();
        let Answer {
            envelope,
            mut metadata,
            content,
            buffers,
        } = answer;
        if let Some((_, started)) = &task.cell {
            self.end_text(&task.request.origin.header);
            metadata = ReplyMetadata::json(&self.setup.session, started, &envelope.status, None);
            self.counted(task.count, envelope.execution_count);
        }
        if let Some(kind) = type_of_reply(&task.request) {
            self.reply_raw(&task.request, &kind, metadata, content, buffers);
        }
        self.idle(&task.request);
        if envelope.exit {
            self.ending = Some(crate::Ended::Asked);
        }
    }
}

fn sections(number: u64, request: &Incoming, count: Option<u64>) -> Vec<Bytes> {
    let extras = Extras {
        count,
        ..Extras::default()
    };
    crate::requests::sections(number, request, "shell", extras)
}

/// What ipykernel answers to a request for a subshell that it does not have.
pub(crate) fn unknown(id: &str) -> serde_json::Value {
    json!({"status": "error", "ename": "UnknownSubshellError", "evalue": format!("Unknown subshell_id '{id}'"), "traceback": []})
}
