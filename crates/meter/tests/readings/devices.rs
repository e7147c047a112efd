//! GPU memory through nvml-wrapper and a fake library.
//!
//! The library reads its state from one file a process, so these tests take turns.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use meter::{Gpu, GpuQuality, Meter, Options, Reading};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::python::Python;

/// A turn with the fake driver.
struct Driver {
    _turn: MutexGuard<'static, ()>,
}

impl Driver {
    async fn take() -> Self {
        static TURN: Mutex<()> = Mutex::const_new(());
        let turn = TURN.lock().await;
        library();
        Self { _turn: turn }
    }

    /// Replaces what the driver tells, at once as far as a reader can see.
    fn tells(&self, state: &Value) {
        let new = state_file().with_extension("new");
        fs::write(&new, state.to_string()).unwrap();
        fs::rename(new, state_file()).unwrap();
    }

    fn tells_devices(&self, devices: Value) {
        self.tells(&json!({ "driver": "550.54", "devices": devices }));
    }
}

fn state_file() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("nvml-{}.json", std::process::id()));
        // SAFETY: nothing in this test binary reads the environment from C code, and the only other copy of Rust's
        // standard library, the fake one's, is not loaded before this returns.
        unsafe { env::set_var("FAKE_NVML_STATE", &file) };
        file
    })
}

/// Builds the fake library, once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        state_file();
        let output = Command::new(env!("CARGO"))
            .args(["build", "-p", "fake-nvml", "--message-format=json"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let messages = String::from_utf8(output.stdout).unwrap();
        let file = messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|message| message["target"]["name"] == "fake_nvml")
            .and_then(|message| message["filenames"][0].as_str().map(PathBuf::from));
        file.expect("cargo tells where the library is")
    })
}

fn meter_with(pid: u32, library: &Path) -> Meter {
    let options = Options {
        nvml_library: Some(library.to_owned()),
        ..Options::default()
    };
    Meter::new(pid, options)
}

/// Reads around a change of what the driver tells.
async fn cell(driver: &Driver, pid: u32, before: Value, after: Value) -> Reading {
    driver.tells_devices(before);
    let mut meter = meter_with(pid, library());
    let start = meter.begin().await;
    driver.tells_devices(after);
    meter.end(start).await
}

/// Quality, used, delta, peak.
type Figures = (GpuQuality, Option<u64>, Option<i64>, Option<u64>);

fn figures(gpu: &Gpu) -> Figures {
    (gpu.quality, gpu.used, gpu.delta, gpu.peak)
}

const UNAVAILABLE: Figures = (GpuQuality::Unavailable, None, None, None);

#[tokio::test]
async fn each_of_two_devices_is_measured_by_process() {
    let driver = Driver::take().await;
    let python = Python::start();
    let pid = python.pid();
    let devices = |first: u64, second: u64| {
        json!([
            {"name": "First", "used": 9000, "compute": [{"pid": pid, "used": first}, {"pid": 1, "used": 7}]},
            {"name": "Second", "used": 5000, "graphics": [{"pid": pid, "used": second}]},
        ])
    };
    let gpu = cell(&driver, pid, devices(100, 60), devices(150, 20))
        .await
        .gpu;
    assert_eq!(gpu.len(), 2);
    assert_eq!((gpu[0].index, gpu[0].name.as_deref()), (0, Some("First")));
    assert_eq!((gpu[1].index, gpu[1].name.as_deref()), (1, Some("Second")));
    assert_eq!(
        figures(&gpu[0]),
        (GpuQuality::Process, Some(150), Some(50), Some(150))
    );
    assert_eq!(
        figures(&gpu[1]),
        (GpuQuality::Process, Some(20), Some(-40), Some(60))
    );
}

#[tokio::test]
async fn a_child_process_and_an_mps_client_are_ours_too() {
    let driver = Driver::take().await;
    let mut python = Python::start();
    let child = python.number("os.fork() or time.sleep(600)");
    let devices = |used: u64| {
        json!([{
            "used": 9000, "compute": [{"pid": python.pid(), "used": 10}], "mps": [{"pid": child, "used": used}],
        }])
    };
    let gpu = cell(&driver, python.pid(), devices(5), devices(25))
        .await
        .gpu;
    assert_eq!(
        figures(&gpu[0]),
        (GpuQuality::Process, Some(35), Some(20), Some(35))
    );
}

#[tokio::test]
async fn a_figure_of_zero_or_none_for_ours_is_unknown() {
    let driver = Driver::take().await;
    let python = Python::start();
    for used in [json!(0), Value::Null] {
        let alone =
            |total: u64| json!([{"used": total, "compute": [{"pid": python.pid(), "used": used}]}]);
        let gpu = cell(&driver, python.pid(), alone(100), alone(130))
            .await
            .gpu;
        assert_eq!(
            figures(&gpu[0]),
            (GpuQuality::SoleProcess, Some(130), Some(30), Some(130))
        );
    }
}

#[tokio::test]
async fn processes_of_others_leave_the_devices_change_unless_there_is_but_one_that_may_be_ours() {
    let driver = Driver::take().await;
    let python = Python::start();
    // A number beyond the kernel's highest is in no namespace; number 1 is in every one, and not ours.
    let hidden = u32::MAX - 1;
    let devices = |total: u64, processes: &[(u32, u64)]| {
        let compute: Vec<Value> = processes
            .iter()
            .map(|(pid, used)| json!({"pid": pid, "used": used}))
            .collect();
        json!([{"used": total, "compute": compute}])
    };
    let cases = [
        (
            vec![(hidden, 50)],
            (GpuQuality::SoleProcess, Some(50), Some(0), Some(50)),
        ),
        (
            vec![(1, 50)],
            (GpuQuality::DeviceDelta, Some(130), Some(30), Some(130)),
        ),
        (
            vec![(1, 50), (hidden, 50)],
            (GpuQuality::DeviceDelta, Some(130), Some(30), Some(130)),
        ),
        (
            vec![],
            (GpuQuality::DeviceDelta, Some(130), Some(30), Some(130)),
        ),
    ];
    for (processes, expected) in cases {
        let (before, after) = (devices(100, &processes), devices(130, &processes));
        let gpu = cell(&driver, python.pid(), before, after).await.gpu;
        assert_eq!(figures(&gpu[0]), expected, "{processes:?}");
    }
}

#[tokio::test]
async fn a_device_without_memory_figures_is_measured_by_process_or_not_at_all() {
    let driver = Driver::take().await;
    let python = Python::start();
    for memory_error in [0, 3] {
        let devices = |used: Option<u64>| json!([{"memory_error": memory_error, "compute": [{"pid": python.pid(), "used": used}]}]);
        let gpu = cell(&driver, python.pid(), devices(Some(4)), devices(Some(9)))
            .await
            .gpu;
        assert_eq!(
            figures(&gpu[0]),
            (GpuQuality::Process, Some(9), Some(5), Some(9))
        );
        let gpu = cell(&driver, python.pid(), devices(None), devices(None))
            .await
            .gpu;
        assert_eq!(figures(&gpu[0]), UNAVAILABLE);
    }
}

#[tokio::test]
async fn a_device_in_instances_is_reported_as_one() {
    let driver = Driver::take().await;
    let python = Python::start();
    let devices = |total: u64, first: Option<u64>, second: Option<u64>| {
        json!([{"mig": true, "used": total, "compute": [
            {"pid": python.pid(), "used": first, "gpu_instance": 3, "compute_instance": 0},
            {"pid": python.pid(), "used": second, "gpu_instance": 4, "compute_instance": 0},
            {"pid": 1, "gpu_instance": 5, "compute_instance": 0},
        ]}])
    };
    let (before, after) = (
        devices(90, Some(10), Some(20)),
        devices(99, Some(12), Some(25)),
    );
    let gpu = cell(&driver, python.pid(), before, after).await.gpu;
    assert_eq!(
        figures(&gpu[0]),
        (GpuQuality::Process, Some(37), Some(7), Some(37))
    );

    let (before, after) = (devices(90, None, None), devices(99, None, None));
    let gpu = cell(&driver, python.pid(), before, after).await.gpu;
    assert_eq!(
        figures(&gpu[0]),
        (GpuQuality::DeviceDelta, Some(99), Some(9), Some(99))
    );
}

#[tokio::test]
async fn a_device_that_is_lost_during_a_cell_keeps_its_name_and_no_figures() {
    let driver = Driver::take().await;
    let python = Python::start();
    let device = |lost: bool| json!({"name": "First", "lost": lost, "used": 9});
    let other = json!({"name": "Second", "used": 5});
    let (before, after) = (json!([device(false), other]), json!([device(true), other]));
    let gpu = cell(&driver, python.pid(), before, after).await.gpu;
    assert_eq!(gpu[0].name.as_deref(), Some("First"));
    assert_eq!(figures(&gpu[0]), UNAVAILABLE);
    assert_eq!(
        figures(&gpu[1]),
        (GpuQuality::DeviceDelta, Some(5), Some(0), Some(5))
    );
}

#[tokio::test]
async fn a_driver_that_hides_processes_leaves_the_devices_change() {
    let driver = Driver::take().await;
    let python = Python::start();
    let devices = |used: u64| json!([{"used": used, "process_error": 4, "compute": [{"pid": python.pid(), "used": 3}]}]);
    let gpu = cell(&driver, python.pid(), devices(10), devices(15))
        .await
        .gpu;
    assert_eq!(
        figures(&gpu[0]),
        (GpuQuality::DeviceDelta, Some(15), Some(5), Some(15))
    );

    let nothing = json!([{"memory_error": 4, "process_error": 4}]);
    let gpu = cell(&driver, python.pid(), nothing.clone(), nothing)
        .await
        .gpu;
    assert_eq!(figures(&gpu[0]), UNAVAILABLE);
}

#[tokio::test]
async fn a_peak_between_start_and_end_is_polled_while_the_cell_runs() {
    let driver = Driver::take().await;
    let python = Python::start();
    let device = |used: u64| json!([{"compute": [{"pid": python.pid(), "used": used}]}]);
    driver.tells_devices(device(10));
    let mut meter = meter_with(python.pid(), library());
    let before = meter.begin().await;
    driver.tells_devices(device(70));
    // Polls are 100 ms apart, so this one is made; the next answer to the caller comes after it.
    tokio::time::sleep(std::time::Duration::from_millis(120)).await;
    meter.sample();
    meter.usage().await;
    driver.tells_devices(device(30));
    let reading = meter.end(before).await;
    assert_eq!(
        figures(&reading.gpu[0]),
        (GpuQuality::Process, Some(30), Some(20), Some(70))
    );

    let before = meter.begin().await;
    let reading = meter.end(before).await;
    assert_eq!(reading.gpu[0].peak, Some(30));
}

#[tokio::test]
async fn a_driver_that_refuses_is_told_once_and_one_that_is_not_loaded_never() {
    let driver = Driver::take().await;
    let python = Python::start();
    for (code, told) in [(9, false), (4, true), (999, true)] {
        driver.tells(&json!({"init_error": code}));
        let mut meter = meter_with(python.pid(), library());
        let before = meter.begin().await;
        let reading = meter.end(before).await;
        assert_eq!(reading.gpu, []);
        assert_eq!(
            reading.notices.len(),
            usize::from(told),
            "{code}: {:?}",
            reading.notices
        );
        assert!(reading.host.delta.is_some());
        let before = meter.begin().await;
        assert!(meter.end(before).await.notices.is_empty());
    }
}

#[tokio::test]
async fn a_library_that_is_absent_or_not_one_or_without_devices_gives_no_gpu() {
    let driver = Driver::take().await;
    driver.tells_devices(json!([]));
    let python = Python::start();
    let broken = tempfile::NamedTempFile::new().unwrap();
    fs::write(broken.path(), "not a library").unwrap();
    for library in [
        Path::new("/nonexistent/libnvidia-ml.so.1"),
        broken.path(),
        library(),
    ] {
        let mut meter = meter_with(python.pid(), library);
        let before = meter.begin().await;
        let reading = meter.end(before).await;
        assert_eq!(reading.gpu, [], "{}", library.display());
        assert!(reading.notices.is_empty(), "{:?}", reading.notices);
        assert!(reading.host.delta.is_some());
    }
}

#[tokio::test]
async fn an_older_library_without_some_symbols_gives_what_it_can() {
    let driver = Driver::take().await;
    let python = Python::start();
    let devices = json!([{"used": 9, "compute": [{"pid": python.pid(), "used": 4}]}]);
    driver.tells_devices(devices);
    let cases = [
        (
            "nvmlDeviceGetMPSComputeRunningProcesses_v3",
            (GpuQuality::Process, Some(4), Some(0), Some(4)),
        ),
        (
            "nvmlDeviceGetGraphicsRunningProcesses_v3",
            (GpuQuality::Process, Some(4), Some(0), Some(4)),
        ),
        (
            "nvmlDeviceGetComputeRunningProcesses_v3",
            (GpuQuality::DeviceDelta, Some(9), Some(0), Some(9)),
        ),
        (
            "nvmlDeviceGetMemoryInfo_v2",
            (GpuQuality::Process, Some(4), Some(0), Some(4)),
        ),
    ];
    for (symbol, expected) in cases {
        let older = without(symbol);
        let mut meter = meter_with(python.pid(), older.path());
        let before = meter.begin().await;
        let reading = meter.end(before).await;
        assert_eq!(figures(&reading.gpu[0]), expected, "{symbol}");
    }
    let older = without("nvmlInit_v2");
    let mut meter = meter_with(python.pid(), older.path());
    let before = meter.begin().await;
    assert_eq!(meter.end(before).await.gpu, []);
}

/// A copy of the library in which a symbol is called something else.
fn without(symbol: &str) -> tempfile::NamedTempFile {
    let mut bytes = fs::read(library()).unwrap();
    let name = symbol.as_bytes();
    let mut found = 0;
    for start in 0..bytes.len() - name.len() {
        if &bytes[start..start + name.len()] == name {
            bytes[start] = b'x';
            found += 1;
        }
    }
    assert!(found > 0, "no {symbol} in the library");
    let copy = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::write(copy.path(), bytes).unwrap();
    copy
}
