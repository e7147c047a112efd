//! The answer to a `usage_request`.

use meter::{Meter, Options};

use crate::python::Python;

const MIB: u64 = 1 << 20;

fn meter(pid: u32) -> Meter {
    let options = Options {
        gpu: false,
        ..Options::default()
    };
    Meter::new(pid, options)
}

#[tokio::test]
async fn a_busy_process_shows_its_cpu_from_the_second_call_on() {
    let mut python = Python::start();
    let meter = meter(python.pid());
    let first = meter.usage().await;
    assert_eq!(first.kernel_cpu, Some(0.0));
    assert_eq!(first.host_cpu_percent, None);
    python.run("end = time.process_time() + 0.3\nwhile time.process_time() < end: pass");
    let second = meter.usage().await;
    // How busy it was depends on who else wants the processor; that it was busy does not.
    assert!(second.kernel_cpu > Some(0.0));
    assert!(second.host_cpu_percent > Some(0.0));
}

#[tokio::test]
async fn memory_is_that_of_the_tree_and_of_the_machine() {
    let mut python = Python::start();
    let meter = meter(python.pid());
    python.run("data = b'x' * (100 << 20)");
    let alone = meter.usage().await.kernel_memory.unwrap();
    assert!(alone > 100 * MIB);

    // The child shares all but 30 MiB, so a sum of resident sizes would be far more.
    python.run(
        "r, w = os.pipe()\nif not os.fork():\n mine = b'x' * (30 << 20); os.write(w, b'1'); time.sleep(600)\nos.read(r, 1)",
    );
    let both = meter.usage().await;
    let both_memory = both.kernel_memory.unwrap();
    assert!(
        (alone + 20 * MIB..alone + 40 * MIB).contains(&both_memory),
        "{alone} {both_memory}"
    );

    let machine = both.host_virtual_memory.unwrap();
    assert!(machine.total > machine.available && machine.available > 0);
    assert_eq!(machine.used, machine.total - machine.available);
    assert!(machine.percent > 0.0 && machine.percent < 100.0);
    assert_eq!(both.pid, python.pid());
    assert!(both.cpu_count > Some(0));
    assert!(both.hostname.is_some());
}

#[tokio::test]
async fn a_process_that_does_not_exist_has_no_usage() {
    let usage = meter(u32::MAX).usage().await;
    assert_eq!((usage.kernel_cpu, usage.kernel_memory), (None, None));
    assert!(usage.host_virtual_memory.is_some());
}
