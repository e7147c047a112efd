//! The only place that knows the parser.
//!
//! The code is a stranger's, and the parser goes down one call for each level of nesting. So what is too long or too deep is not read,
//! and reading has a thread with a stack for the worst of the rest (measured: 1 KiB a byte of code).

use std::thread;

use ruff_python_ast::visitor::{Visitor, walk_body, walk_expr, walk_stmt};
use ruff_python_ast::{
    Arguments, Decorator, Expr, ExprCall, Identifier, Operator, Parameters, Stmt, StmtClassDef,
    StmtFunctionDef,
};
use ruff_python_parser::{Mode, ParseOptions, parse_unchecked};
use ruff_text_size::{Ranged, TextRange, TextSize};

use super::{Fact, Sort, What};

/// Bytes of code; a longer cell is not read.
const LONGEST: usize = 16 << 10;
/// Brackets within brackets, those in texts included.
const DEEPEST: usize = 60;
const STACK: usize = 256 << 20;
const FACTS: usize = 2_000;
const TEXT: usize = 60;
/// Cell magics whose body is Python of this interpreter.
const OF_PYTHON: [&str; 8] = [
    "%%time",
    "%%timeit",
    "%%capture",
    "%%prun",
    "%%memit",
    "%%hygiene",
    "%%isolate",
    "%%debug",
];
/// Methods that put their argument into a container.
const KEEPERS: [&str; 7] = [
    "append",
    "appendleft",
    "add",
    "insert",
    "extend",
    "setdefault",
    "put",
];
/// Functions that go through their argument once.
const ONCE: [&str; 14] = [
    "sum", "max", "min", "any", "all", "sorted", "list", "tuple", "set", "join", "fsum", "Counter",
    "mean", "reduce",
];

/// What the code of a cell does, in its order; nothing if it is not Python, does not parse, or is too long.
pub(crate) fn read(source: &str) -> Vec<Fact> {
    let Some(source) = python_of(source) else {
        return Vec::new();
    };
    let thread = thread::Builder::new().stack_size(STACK).name("code".into());
    let facts = thread::scope(|scope| {
        let reading = thread.spawn_scoped(scope, || parse(&source));
        reading.ok().and_then(|reading| reading.join().ok())
    });
    facts.unwrap_or_default()
}

/// The code without the line of a cell magic; none if it cannot be read.
fn python_of(source: &str) -> Option<String> {
    if source.len() > LONGEST || is_deep(source) {
        return None;
    }
    if !source.trim_start().starts_with("%%") {
        return Some(source.to_owned());
    }
    let start = source.len() - source.trim_start().len();
    let (magic, body) = source[start..].split_once('\n')?;
    let word = magic.split_whitespace().next()?;
    let lines = source[..start].matches('\n').count() + 1;
    OF_PYTHON
        .contains(&word)
        .then(|| format!("{}{body}", "\n".repeat(lines)))
}

fn is_deep(source: &str) -> bool {
    let mut depth = 0usize;
    source.bytes().any(|byte| {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > DEEPEST
    })
}

fn parse(source: &str) -> Vec<Fact> {
    let parsed = parse_unchecked(source, ParseOptions::from(Mode::Ipython));
    if !parsed.errors().is_empty() {
        return Vec::new();
    }
    let Some(module) = parsed.syntax().as_module() else {
        return Vec::new();
    };
    let mut reader = Reader {
        source,
        facts: Vec::new(),
        loops: 0,
        bound: String::new(),
        managed: false,
    };
    reader.visit_body(&module.body);
    reader.facts
}

struct Reader<'a> {
    source: &'a str,
    facts: Vec<Fact>,
    loops: u32,
    /// What the call in hand is bound to.
    bound: String,
    managed: bool,
}

impl Reader<'_> {
    fn add(&mut self, at: TextSize, what: What) {
        if self.facts.len() >= FACTS {
            return;
        }
        let offset = at.to_usize();
        let before = self.source.get(..offset).unwrap_or_default();
        let begin = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.source[begin..].lines().next().unwrap_or_default();
        let mut text = line.trim().to_owned();
        if text.chars().count() > TEXT {
            text = text.chars().take(TEXT - 1).chain(['…']).collect();
        }
        self.facts.push(Fact {
            line: u32::try_from(before.matches('\n').count() + 1).unwrap_or(u32::MAX),
            text,
            loops: self.loops,
            what,
        });
    }

    fn text(&self, range: TextRange) -> String {
        let text = self.source.get(range.to_std_range()).unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn keywords(&self, arguments: &Arguments) -> Vec<(String, String)> {
        let named = arguments.keywords.iter();
        named
            .filter_map(|keyword| {
                let name = keyword.arg.as_ref()?;
                Some((name.to_string(), self.text(keyword.value.range())))
            })
            .collect()
    }

    fn binds(&mut self, target: &Expr, value: &Expr) {
        if let Expr::Subscript(part) = target {
            if let Some(to) = path(&part.value) {
                let value = self.text(value.range());
                self.add(target.start(), What::Keeps { to, value });
            }
            return;
        }
        let Some(name) = path(target) else { return };
        if let Expr::BinOp(sum) = value
            && sum.op == Operator::Add
            && path(&sum.left).as_deref() == Some(&name)
        {
            let value = self.text(sum.right.range());
            self.add(target.start(), What::Adds { to: name, value });
            return;
        }
        let sort = sort(value);
        let value = self.text(value.range());
        self.add(target.start(), What::Binds { name, value, sort });
    }

    fn calls(&mut self, call: &ExprCall) {
        let Some(callee) = path(&call.func) else {
            return;
        };
        let arguments = &call.arguments;
        if let Some((to, method)) = callee.rsplit_once('.')
            && KEEPERS.contains(&method)
        {
            let value = match &*arguments.args {
                [only] => self.text(only.range()),
                _ => String::new(),
            };
            let to = to.to_owned();
            self.add(call.start(), What::Keeps { to, value });
        }
        if ONCE.contains(&callee.rsplit('.').next().unwrap_or_default())
            && let [Expr::Name(only)] = &*arguments.args
        {
            let over = only.id.to_string();
            self.add(call.start(), What::Iterates { over });
        }
        let what = What::Calls {
            callee,
            keywords: self.keywords(arguments),
            bound: std::mem::take(&mut self.bound),
            managed: std::mem::take(&mut self.managed),
        };
        self.add(call.start(), what);
    }

    fn decorated(&mut self, function: &Identifier, decorator: &Decorator) {
        let (expression, keywords, called) = match &decorator.expression {
            Expr::Call(call) => (&*call.func, self.keywords(&call.arguments), true),
            other => (other, Vec::new(), false),
        };
        if let Some(name) = path(expression) {
            let what = What::Decorates {
                function: function.to_string(),
                decorator: name,
                keywords,
                called,
            };
            self.add(decorator.start(), what);
        }
    }

    fn iterates(&mut self, over: &Expr) {
        // `enumerate(xs)`, `zip(xs, …)` go through it as well.
        let direct = std::slice::from_ref(over);
        let inner = match over {
            Expr::Call(call)
                if matches!(
                    path(&call.func).as_deref(),
                    Some("enumerate" | "zip" | "map")
                ) =>
            {
                &*call.arguments.args
            }
            _ => direct,
        };
        for name in inner.iter().filter_map(Expr::as_name_expr) {
            let over = name.id.to_string();
            self.add(name.start(), What::Iterates { over });
        }
    }

    /// What belongs to a function runs when it is called, which may be never: its loops are its own.
    fn apart(&mut self, body: &[Stmt]) {
        let loops = std::mem::take(&mut self.loops);
        walk_body(self, body);
        self.loops = loops;
    }

    fn repeated(&mut self, body: &[Stmt], orelse: &[Stmt]) {
        self.loops += 1;
        walk_body(self, body);
        self.loops -= 1;
        walk_body(self, orelse);
    }

    fn defaults(&mut self, parameters: &Parameters) {
        for default in parameters.iter().filter_map(|one| one.default()) {
            self.visit_expr(default);
        }
    }
}

impl<'a> Visitor<'a> for Reader<'_> {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::Assign(assign) => {
                for target in &assign.targets {
                    self.binds(target, &assign.value);
                }
                if let ([target], Expr::Call(_)) = (assign.targets.as_slice(), &*assign.value) {
                    self.bound = path(target).unwrap_or_default();
                }
                self.visit_expr(&assign.value);
                self.bound.clear();
                for target in &assign.targets {
                    if !target.is_name_expr() {
                        self.visit_expr(target);
                    }
                }
            }
            Stmt::AugAssign(assign) => {
                if assign.op == Operator::Add
                    && let Some(to) = path(&assign.target)
                {
                    let value = self.text(assign.value.range());
                    self.add(stmt.start(), What::Adds { to, value });
                }
                self.visit_expr(&assign.value);
            }
            Stmt::Delete(delete) => {
                for target in &delete.targets {
                    if let Expr::Subscript(part) = target
                        && let Some(from) = path(&part.value)
                    {
                        self.add(target.start(), What::Takes { from });
                    }
                }
                walk_stmt(self, stmt);
            }
            Stmt::For(each) => {
                self.iterates(&each.iter);
                self.visit_expr(&each.iter);
                self.repeated(&each.body, &each.orelse);
            }
            Stmt::While(each) => {
                self.visit_expr(&each.test);
                self.repeated(&each.body, &each.orelse);
            }
            Stmt::With(with) => {
                for item in &with.items {
                    self.managed = item.context_expr.is_call_expr();
                    self.visit_expr(&item.context_expr);
                    self.managed = false;
                }
                self.visit_body(&with.body);
            }
            Stmt::FunctionDef(StmtFunctionDef {
                name,
                decorator_list,
                parameters,
                body,
                ..
            }) => {
                for decorator in decorator_list {
                    self.decorated(name, decorator);
                }
                self.defaults(parameters);
                self.apart(body);
            }
            Stmt::ClassDef(StmtClassDef { body, .. }) => self.apart(body),
            _ => walk_stmt(self, stmt),
        }
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Call(call) => {
                self.calls(call);
                walk_expr(self, expr);
            }
            Expr::ListComp(_) | Expr::SetComp(_) | Expr::DictComp(_) | Expr::Generator(_) => {
                let generators = match expr {
                    Expr::ListComp(all) => &all.generators,
                    Expr::SetComp(all) => &all.generators,
                    Expr::DictComp(all) => &all.generators,
                    Expr::Generator(all) => &all.generators,
                    _ => return,
                };
                for generator in generators {
                    self.iterates(&generator.iter);
                }
                self.loops += 1;
                walk_expr(self, expr);
                self.loops -= 1;
            }
            Expr::Name(name) => {
                if name.ctx.is_load() {
                    let name = name.id.to_string();
                    self.add(expr.start(), What::Uses { name });
                }
            }
            _ => walk_expr(self, expr),
        }
    }
}

/// `a.b.c` as text; none for anything else.
fn path(expr: &Expr) -> Option<String> {
    let mut parts = Vec::new();
    let mut expr = expr;
    loop {
        match expr {
            Expr::Name(name) => {
                parts.push(name.id.as_str());
                break;
            }
            Expr::Attribute(attribute) => {
                parts.push(attribute.attr.as_str());
                expr = &attribute.value;
            }
            _ => return None,
        }
    }
    parts.reverse();
    Some(parts.join("."))
}

fn sort(value: &Expr) -> Sort {
    match value {
        Expr::List(list) if list.elts.is_empty() => Sort::Empty,
        Expr::Dict(dict) if dict.items.is_empty() => Sort::Empty,
        Expr::Call(call) if call.arguments.is_empty() => match path(&call.func).as_deref() {
            Some("list" | "dict" | "set" | "deque" | "collections.deque") => Sort::Empty,
            _ => Sort::Other,
        },
        Expr::ListComp(_) | Expr::SetComp(_) | Expr::DictComp(_) => Sort::Comprehension,
        Expr::Subscript(_) => Sort::Part,
        _ => Sort::Other,
    }
}

#[cfg(test)]
mod tests;
