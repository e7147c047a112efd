//! GPUs: what frameworks inside the interpreter know of them, and the rows of the ledger.
//!
//! The driver tells what our processes use in all. The counters of a framework tell which part of it tensors use and which part its
//! allocator keeps. What is left belongs to the driver: the context, code, workspaces of libraries. Where only the figure of the whole
//! device is known, what is left may also be other people's.

use std::collections::{BTreeMap, BTreeSet};

use meter::{FrameworkMemory, Gpu, GpuQuality};

use crate::facts::{Facts, Holder, HolderKind, difference};
use crate::record::{Cause, Row, RowCause};
use crate::rows::kept;
use crate::size::human;

const LISTED: usize = 8;
const SMALLEST: u64 = 64 * 1024;

/// Adds the frameworks' own counters, which only the agent can read, to what was measured from outside. A device that could not be
/// measured gets its figures from them.
pub(crate) fn with_frameworks(mut gpus: Vec<Gpu>, facts: &Facts) -> Vec<Gpu> {
    let numbers = Numbers::of(&gpus, facts);
    let measured: BTreeSet<u32> = gpus
        .iter()
        .filter(|gpu| gpu.used.is_some())
        .map(|gpu| gpu.index)
        .collect();
    for (framework, device) in counted(facts) {
        let index = numbers.index(device);
        let at = gpus.iter().position(|gpu| gpu.index == index);
        let at = at.unwrap_or_else(|| {
            gpus.push(Gpu {
                index,
                ..Gpu::default()
            });
            gpus.len() - 1
        });
        let gpu = &mut gpus[at];
        let now = counters(&facts.frameworks, framework, device);
        if let Some(now) = now {
            gpu.frameworks.entry(framework.to_owned()).or_insert(now);
        }
        if !measured.contains(&index) {
            let now = now.unwrap_or_default();
            let parts = [now.live, now.cached].into_iter().flatten();
            let used = parts.fold(gpu.used.unwrap_or(0), u64::saturating_add);
            let moved = Moved::of(facts, framework, device);
            let moved = moved.live.saturating_add(moved.cached);
            gpu.quality = GpuQuality::Framework;
            gpu.used = Some(used);
            gpu.delta = Some(gpu.delta.unwrap_or(0).saturating_add(moved));
        }
    }
    gpus
}

/// The driver's numbers of the devices, which a framework counts as far as it may see them.
#[derive(Clone, Copy)]
struct Numbers {
    /// The only device of the driver, where the frameworks too see but one.
    only: Option<u32>,
}

impl Numbers {
    fn of(gpus: &[Gpu], facts: &Facts) -> Self {
        let seen: BTreeSet<u32> = counted(facts).map(|(_, device)| device).collect();
        let only = match gpus {
            [only] if seen.len() == 1 => Some(only.index),
            _ => None, // the numbers are taken to be the same
        };
        Self { only }
    }

    fn index(self, device: u32) -> u32 {
        self.only.unwrap_or(device)
    }
}

type Counters = BTreeMap<String, BTreeMap<u32, FrameworkMemory>>;

fn counters(all: &Counters, framework: &str, device: u32) -> Option<FrameworkMemory> {
    all.get(framework)?.get(&device).copied()
}

/// How the counters of a framework moved during the cell.
#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    live: i64,
    cached: i64,
}

impl Moved {
    fn of(facts: &Facts, framework: &str, device: u32) -> Self {
        let find = |all: &Counters| counters(all, framework, device).unwrap_or_default();
        let (before, after) = (find(&facts.frameworks_before), find(&facts.frameworks));
        let moved = |part: fn(&FrameworkMemory) -> Option<u64>| {
            difference(part(&after).unwrap_or(0), part(&before).unwrap_or(0))
        };
        Self {
            live: moved(|memory| memory.live),
            cached: moved(|memory| memory.cached),
        }
    }
}

/// The most that any counter of a framework moved during the cell, in bytes.
pub(crate) fn moved(facts: &Facts) -> u64 {
    counted(facts)
        .map(|(framework, device)| {
            let moved = Moved::of(facts, framework, device);
            moved.live.unsigned_abs().max(moved.cached.unsigned_abs())
        })
        .max()
        .unwrap_or(0)
}

/// By how much tensors use more than before the cell, on all devices.
pub(crate) fn live(facts: &Facts) -> i64 {
    counted(facts).fold(0i64, |sum, (framework, device)| {
        sum.saturating_add(Moved::of(facts, framework, device).live)
    })
}

/// Every framework and device of which there are counters before or after the cell.
fn counted(facts: &Facts) -> impl Iterator<Item = (&str, u32)> {
    let both = [&facts.frameworks_before, &facts.frameworks];
    let pairs: BTreeSet<(&str, u32)> = both
        .into_iter()
        .flatten()
        .flat_map(|(framework, devices)| devices.keys().map(|&device| (framework.as_str(), device)))
        .collect();
    pairs.into_iter()
}

/// What holders that no variable leads to had on GPUs when they were last looked for.
#[derive(Debug, Default)]
pub(crate) struct Held(BTreeMap<(HolderKind, String), BTreeMap<u32, u64>>);

impl Held {
    fn before(&self, holder: &Holder) -> BTreeMap<u32, u64> {
        let key = (holder.kind, holder.name.clone());
        self.0.get(&key).cloned().unwrap_or_default()
    }

    /// Remembers what was found now.
    pub(crate) fn remember(&mut self, facts: &Facts) {
        if facts.complete {
            self.0.clear();
        }
        for holder in facts.holders.iter().filter(|holder| !holder.gpu.is_empty()) {
            let key = (holder.kind, holder.name.clone());
            self.0.insert(key, holder.gpu.clone());
        }
    }
}

/// The rows of all devices. Those of a device add up to its delta, if that is known.
pub(crate) fn rows(gpus: &[Gpu], tier0: &Facts, tier1: Option<&Facts>, held: &Held) -> Vec<Row> {
    let numbers = Numbers::of(gpus, tier0);
    let mut rows = Vec::new();
    for gpu in gpus {
        let mut of_device = Vec::new();
        let here = |device: u32| numbers.index(device) == gpu.index;
        let mut live = 0i64;
        let mut owners = BTreeSet::new();
        for (framework, device) in counted(tier0).filter(|&(_, device)| here(device)) {
            let moved = Moved::of(tier0, framework, device);
            live = live.saturating_add(moved.live);
            owners.insert(framework);
            if moved.cached.unsigned_abs() >= SMALLEST {
                let now = counters(&tier0.frameworks, framework, device);
                let kept = now.and_then(|now| now.cached).unwrap_or(0);
                of_device.push(row(
                    gpu,
                    RowCause::Kept(Cause::PoolCache),
                    framework.to_owned(),
                    moved.cached,
                    format!("{} free in its pool", human(kept)),
                ));
            }
        }
        let on = |devices: &BTreeMap<u32, u64>| {
            devices
                .iter()
                .filter(|&(&device, _)| here(device))
                .fold(0u64, |sum, (_, bytes)| sum.saturating_add(*bytes))
        };
        let mut named: Vec<Row> = Vec::new();
        for variable in tier1.iter().flat_map(|facts| &facts.variables) {
            let bytes = difference(on(&variable.gpu), on(&variable.gpu_before));
            let evidence = format!("{} {}", variable.type_name, variable.detail);
            let name = variable.name.clone();
            let evidence = evidence.trim().to_owned();
            named.push(row(gpu, RowCause::Variables, name, bytes, evidence));
        }
        for holder in tier1.iter().flat_map(|facts| &facts.holders) {
            let bytes = difference(on(&holder.gpu), on(&held.before(holder)));
            if let Some((cause, evidence)) = kept(holder).filter(|_| bytes != 0) {
                let name = holder.name.clone();
                named.push(row(gpu, RowCause::Kept(cause), name, bytes, evidence));
            }
        }
        named.retain(|row| row.bytes.unsigned_abs() >= SMALLEST);
        named.sort_by_key(|row| std::cmp::Reverse(row.bytes.unsigned_abs()));
        named.truncate(LISTED);
        for row in named {
            live = live.saturating_sub(row.bytes);
            of_device.push(row);
        }
        if live.unsigned_abs() >= SMALLEST {
            let owners: Vec<&str> = owners.into_iter().collect();
            of_device.push(row(
                gpu,
                RowCause::FrameworkLive,
                owners.join(", "),
                live,
                "in use by its own counters, under no name".into(),
            ));
        }
        of_device.extend(rest(gpu, &of_device));
        of_device.sort_by_key(|row| std::cmp::Reverse(row.bytes.unsigned_abs()));
        rows.extend(of_device);
    }
    rows
}

/// What the driver counts and no framework does.
fn rest(gpu: &Gpu, known: &[Row]) -> Option<Row> {
    let sum = known
        .iter()
        .fold(0i64, |sum, row| sum.saturating_add(row.bytes));
    let bytes = gpu.delta?.saturating_sub(sum);
    if bytes == 0 {
        return None;
    }
    let silent = gpu.frameworks.iter().find(|(_, now)| now.cached.is_none());
    let (cause, owner, evidence) = if gpu.quality == GpuQuality::DeviceDelta {
        (
            RowCause::OtherProcesses,
            "other processes, or the driver".to_owned(),
            "the driver tells only what the whole device uses",
        )
    } else if let Some((framework, _)) = silent {
        (
            RowCause::GpuContext,
            format!("driver, libraries and the pool of {framework}"),
            "this framework does not tell what its pool keeps",
        )
    } else {
        (
            RowCause::GpuContext,
            "driver and libraries".to_owned(),
            "in use by our processes, and no framework's allocator counts it",
        )
    };
    Some(row(gpu, cause, owner, bytes, evidence.into()))
}

fn row(gpu: &Gpu, cause: RowCause, owner: String, bytes: i64, evidence: String) -> Row {
    Row {
        space: format!("gpu{}", gpu.index),
        cause,
        owner,
        bytes,
        evidence,
    }
}

#[cfg(test)]
mod tests;
