//! The one binary: see the library beneath.

/// What a thread gave back last, it gets next: it is still in the core's caches. Of an order's processor time that is a sixth,
/// against the system's allocator or one that goes round its pages.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    spillway_cli::main()
}
