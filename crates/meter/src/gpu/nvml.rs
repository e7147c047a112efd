//! NVIDIA's management library: what each device tells. Every call may take milliseconds, or hang with a broken device.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

use nvml_wrapper::{
    Device, Nvml, enums::device::UsedGpuMemory, error::NvmlError,
    struct_wrappers::device::ProcessInfo,
};

use super::{Listed, Observation, Whose};
use crate::platform;

/// How often a process list that grows while it is read is read again.
const TRIES: usize = 3;
/// Devices that are asked. More is a broken answer.
const MOST: u32 = 64;

/// The loaded and initialised library.
#[derive(Debug)]
pub(crate) struct Library {
    nvml: Nvml,
    names: BTreeMap<u32, String>,
    count: u32,
}

/// Why there are no devices.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// No library, no driver or no device: a machine without a GPU, or a container that was given none.
    Absent,
    /// There is a driver, and it refuses.
    Refused(NvmlError),
}

impl Library {
    /// Loads and initialises the library; may take seconds while the driver wakes its devices.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let nvml =
            Nvml::builder()
                .lib_path(path.as_os_str())
                .init()
                .map_err(|error| match error {
                    NvmlError::LibloadingError(_)
                    | NvmlError::FailedToLoadSymbol(_)
                    | NvmlError::DriverNotLoaded
                    | NvmlError::LibraryNotFound => OpenError::Absent,
                    error => OpenError::Refused(error),
                })?;
        let count = nvml.device_count().map_err(OpenError::Refused)?;
        if count == 0 {
            return Err(OpenError::Absent);
        }
        Ok(Self {
            nvml,
            names: BTreeMap::new(),
            count: count.min(MOST),
        })
    }

    /// What each device tells now. `tree` are our processes.
    pub(crate) fn observe(&mut self, tree: &HashSet<u32>) -> Vec<Observation> {
        (0..self.count)
            .map(|index| self.observe_device(index, tree))
            .collect()
    }

    fn observe_device(&mut self, index: u32, tree: &HashSet<u32>) -> Observation {
        let device = self.nvml.device_by_index(index).ok();
        if let Some(device) = &device
            && !self.names.contains_key(&index)
            && let Ok(name) = device.name()
        {
            self.names.insert(index, name);
        }
        let (used, total) = device.as_ref().and_then(memory).unzip();
        Observation {
            index,
            name: self.names.get(&index).cloned(),
            used,
            total,
            processes: device
                .as_ref()
                .and_then(|device| processes(device, tree).ok()),
        }
    }
}

/// Bytes in use on the whole device, and those that it has. "Not available" is the highest number (nvml.h,
/// `NVML_VALUE_NOT_AVAILABLE`).
fn memory(device: &Device<'_>) -> Option<(u64, u64)> {
    device
        .memory_info()
        .ok()
        .map(|memory| (memory.used, memory.total))
        .filter(|&(used, _)| used != u64::MAX)
}

/// The processes of the three lists, each once.
fn processes(device: &Device<'_>, tree: &HashSet<u32>) -> Result<Vec<Listed>, NvmlError> {
    let compute = retried(|| device.running_compute_processes())?;
    let graphics = optional(retried(|| device.running_graphics_processes()))?;
    let mps = optional(retried(|| device.mps_running_compute_processes()))?;
    let listed = merge([compute, graphics, mps].into_iter().flatten());
    Ok(listed
        .into_iter()
        .map(|(pid, used)| Listed {
            pid,
            used,
            whose: if tree.contains(&pid) {
                Whose::Ours
            } else if platform::exists(pid) {
                Whose::Foreign
            } else {
                Whose::Unknown
            },
        })
        .collect())
}

/// A list that grew between the question for its length and the question for itself is asked for again.
fn retried<T>(mut ask: impl FnMut() -> Result<T, NvmlError>) -> Result<T, NvmlError> {
    let mut answer = ask();
    for _ in 1..TRIES {
        if !matches!(answer, Err(NvmlError::InsufficientSize(_))) {
            break;
        }
        answer = ask();
    }
    answer
}

/// A list that a driver or a device does not have is an empty one.
fn optional<T>(answer: Result<Vec<T>, NvmlError>) -> Result<Vec<T>, NvmlError> {
    match answer {
        Err(
            NvmlError::NotSupported
            | NvmlError::FunctionNotFound
            | NvmlError::FailedToLoadSymbol(_),
        ) => Ok(Vec::new()),
        other => other,
    }
}

/// Bytes by process. One that is in several lists has the same memory in each; one on several MIG instances has its own
/// on each. Drivers say 0 for what they do not know (NVIDIA/open-gpu-kernel-modules#614).
fn merge(listed: impl Iterator<Item = ProcessInfo>) -> BTreeMap<u32, Option<u64>> {
    let mut by_instance: BTreeMap<_, Option<u64>> = BTreeMap::new();
    for process in listed {
        let used = match process.used_gpu_memory {
            UsedGpuMemory::Used(bytes) if bytes > 0 => Some(bytes),
            _ => None,
        };
        let instance = (
            process.pid,
            process.gpu_instance_id,
            process.compute_instance_id,
        );
        let highest = by_instance.entry(instance).or_default();
        *highest = (*highest).max(used);
    }
    let mut by_process = BTreeMap::new();
    for ((pid, ..), used) in by_instance {
        by_process
            .entry(pid)
            .and_modify(|sum: &mut Option<u64>| {
                *sum = sum.zip(used).map(|(sum, used)| sum.saturating_add(used));
            })
            .or_insert(used);
    }
    by_process
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_counts_once_a_list_and_once_an_instance() {
        let process = |pid, used, instance| ProcessInfo {
            pid,
            used_gpu_memory: used,
            gpu_instance_id: instance,
            compute_instance_id: None,
        };
        use UsedGpuMemory::{Unavailable, Used};
        let listed = [
            process(1, Used(5), None),
            process(1, Used(5), None),
            process(2, Used(5), Some(1)),
            process(2, Used(6), Some(2)),
            process(3, Used(0), None),
            process(4, Unavailable, Some(1)),
            process(4, Used(6), Some(2)),
            process(5, Used(0), None),
            process(5, Used(9), None),
        ];
        let expected = [
            (1, Some(5)),
            (2, Some(11)),
            (3, None),
            (4, None),
            (5, Some(9)),
        ];
        assert_eq!(merge(listed.into_iter()), BTreeMap::from(expected));
    }

    #[test]
    fn only_a_list_that_was_too_long_is_asked_for_again() {
        let mut left = vec![Ok(3), Err(NvmlError::InsufficientSize(None))];
        assert_eq!(retried(|| left.pop().unwrap()).unwrap(), 3);
        let mut asked = 0;
        let refused = retried(|| {
            asked += 1;
            Err::<(), _>(NvmlError::NoPermission)
        });
        assert!(matches!(refused, Err(NvmlError::NoPermission)));
        assert_eq!(asked, 1);
        let endless = retried(|| Err::<(), _>(NvmlError::InsufficientSize(None)));
        assert!(endless.is_err());
    }
}
