//! What the code of a cell says: only the few sorts of statements that have to do with kept memory, each with its line.
//!
//! Code alone proves nothing, so it is never a finding. It is read when something was found in memory, and then it can name the line
//! that does it.

mod reader;
mod remarks;

use std::cell::OnceCell;

pub(crate) use remarks::{once_read, remark, trims};

/// Something that a cell's code does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    /// The line of the cell, from 1.
    pub line: u32,
    /// That line, without what surrounds the statement.
    pub text: String,
    /// In how many loops or comprehensions it is.
    pub loops: u32,
    /// What it does.
    pub what: What,
}

/// Sorts of statements and expressions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// `to += value`, `to = to + value`.
    Adds {
        /// The name, with its attributes.
        to: String,
        /// The expression.
        value: String,
    },
    /// `to.append(value)` and its like, `to[…] = value`.
    Keeps {
        /// The name, with its attributes.
        to: String,
        /// The expression; empty if there are several.
        value: String,
    },
    /// `del from[…]`.
    Takes {
        /// The name, with its attributes.
        from: String,
    },
    /// `name = value`.
    Binds {
        /// The name, with its attributes.
        name: String,
        /// The expression.
        value: String,
        /// What kind of expression it is.
        sort: Sort,
    },
    /// `callee(…)`.
    Calls {
        /// The function, with its attributes.
        callee: String,
        /// `name=value` of its arguments.
        keywords: Vec<(String, String)>,
        /// What the result is bound to.
        bound: String,
        /// In the head of a `with` statement.
        managed: bool,
    },
    /// `@decorator` above a function.
    Decorates {
        /// The function.
        function: String,
        /// The decorator, with its attributes.
        decorator: String,
        /// `name=value` of its arguments.
        keywords: Vec<(String, String)>,
        /// It is called, with whatever arguments.
        called: bool,
    },
    /// `for … in over`, `sum(over)`: something is gone through once.
    Iterates {
        /// The name.
        over: String,
    },
    /// A name is read.
    Uses {
        /// The name.
        name: String,
    },
}

/// Sorts of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// `[]`, `list()`, `{}`, …: an empty container.
    Empty,
    /// `[… for …]`.
    Comprehension,
    /// `x[…]`.
    Part,
    /// Anything else.
    Other,
}

/// The code of a cell, read when somebody first asks.
#[derive(Debug, Default)]
pub(crate) struct Code<'a> {
    source: &'a str,
    facts: OnceCell<Vec<Fact>>,
}

impl<'a> Code<'a> {
    /// Nothing is read yet.
    pub fn new(source: &'a str) -> Self {
        Self {
            source,
            facts: OnceCell::new(),
        }
    }

    /// What it does, in its order.
    pub fn facts(&self) -> &[Fact] {
        self.facts.get_or_init(|| reader::read(self.source))
    }
}
