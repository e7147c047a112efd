//! Layouts and return codes of `nvml.h`.

use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void};

/// A device as callers hold it: an opaque pointer.
pub(crate) type Handle = *mut c_void;

/// A return code.
pub(crate) type Code = c_int;

/// `NVML_SUCCESS`
pub(crate) const SUCCESS: Code = 0;
/// `NVML_ERROR_UNINITIALIZED`
pub(crate) const UNINITIALIZED: Code = 1;
/// `NVML_ERROR_INVALID_ARGUMENT`
pub(crate) const INVALID_ARGUMENT: Code = 2;
/// `NVML_ERROR_NOT_SUPPORTED`
pub(crate) const NOT_SUPPORTED: Code = 3;
/// `NVML_ERROR_NOT_FOUND`
pub(crate) const NOT_FOUND: Code = 6;
/// `NVML_ERROR_INSUFFICIENT_SIZE`
pub(crate) const INSUFFICIENT_SIZE: Code = 7;
/// `NVML_ERROR_DRIVER_NOT_LOADED`
pub(crate) const DRIVER_NOT_LOADED: Code = 9;
/// `NVML_ERROR_GPU_IS_LOST`
pub(crate) const GPU_IS_LOST: Code = 15;
/// `NVML_ERROR_ARGUMENT_VERSION_MISMATCH`
pub(crate) const VERSION_MISMATCH: Code = 25;
/// `NVML_ERROR_UNKNOWN`
pub(crate) const UNKNOWN: Code = 999;

/// `NVML_VALUE_NOT_AVAILABLE` as a number of bytes.
pub(crate) const NOT_AVAILABLE: c_ulonglong = c_ulonglong::MAX;
/// No MIG instance.
pub(crate) const NO_INSTANCE: c_uint = c_uint::MAX;

/// `nvmlMemory_t`
#[repr(C)]
pub(crate) struct Memory {
    pub(crate) total: c_ulonglong,
    pub(crate) free: c_ulonglong,
    pub(crate) used: c_ulonglong,
}

/// `nvmlMemory_v2_t`
#[repr(C)]
pub(crate) struct MemoryV2 {
    /// `NVML_STRUCT_VERSION`: the size, and the version in the highest byte. The caller sets it.
    pub(crate) version: c_uint,
    pub(crate) total: c_ulonglong,
    pub(crate) reserved: c_ulonglong,
    pub(crate) free: c_ulonglong,
    pub(crate) used: c_ulonglong,
}

impl MemoryV2 {
    /// What `version` must be.
    pub(crate) const VERSION: c_uint = size_of::<Self>() as c_uint | 2 << 24;
}

/// `nvmlProcessInfo_t`
#[repr(C)]
pub(crate) struct ProcessInfo {
    pub(crate) pid: c_uint,
    pub(crate) used: c_ulonglong,
    pub(crate) gpu_instance: c_uint,
    pub(crate) compute_instance: c_uint,
}

/// `nvmlUtilization_t`
#[repr(C)]
pub(crate) struct Utilization {
    pub(crate) gpu: c_uint,
    pub(crate) memory: c_uint,
}

/// Writes an answer where the caller wants it.
///
/// # Safety
/// `target` is null or points to room for a `T`.
pub(crate) unsafe fn put<T>(value: T, target: *mut T) -> Code {
    if target.is_null() {
        return INVALID_ARGUMENT;
    }
    // SAFETY: it is not null, and the caller vouches for the room.
    unsafe { target.write(value) };
    SUCCESS
}

/// Writes a text with its closing zero byte.
///
/// # Safety
/// `target` is null or points to `room` bytes.
pub(crate) unsafe fn put_text(text: &str, target: *mut c_char, room: c_uint) -> Code {
    if target.is_null() {
        return INVALID_ARGUMENT;
    }
    if text.len() >= room as usize {
        return INSUFFICIENT_SIZE;
    }
    // SAFETY: the text and its zero byte fit into `room`, and the caller vouches for that room.
    unsafe {
        target.copy_from_nonoverlapping(text.as_ptr().cast(), text.len());
        target.add(text.len()).write(0);
    }
    SUCCESS
}
