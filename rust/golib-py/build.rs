//! Compiles the C shim (`cpython/`) against the private headers of the interpreter that PyO3 builds for.
//!
//! The shim is compiled without sibling calls, because its entries leave their frame record on the stack for the callee,
//! and as C11 with warnings as errors; CPython's own headers are system headers, so theirs do not count.

use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCES: &[&str] = &[
    "a64_insn.c",
    "arena.c",
    "call.c",
    "frames.c",
    "gil.c",
    "handoff.c",
    "hooks.c",
    "identity.c",
    "identity_locks.c",
    "identity_modules.c",
    "identity_semlock.c",
    "identity_signals.c",
    "identity_sqlite.c",
    "identity_tkinter.c",
    "init.c",
    "leftovers.c",
    "main_thread.c",
    "movable.c",
    "object.c",
    "parts.c",
    "slot.c",
    "patch_condition.c",
    "patch_groups.c",
    "patch_elsewhere.c",
    "patch_locks.c",
    "patch_queue.c",
    "patch_threads.c",
    "patch_time.c",
    "swap.c",
    "tstate.c",
    "vars.c",
    "x86_insn.c",
];
/// What only POSIX systems have, and what stands in its place on Windows.
const POSIX: &[&str] = &[
    "a64_code.c",
    "buffered_scan.c",
    "cfi.c",
    "ident.c",
    "identity_fork.c",
    "identity_greenlet.c",
    "identity_kill.c",
    "identity_stack.c",
    "imports.c",
    "libraries.c",
    "patch_accept.c",
    "patch_children.c",
    "patch_close.c",
    "patch_connect.c",
    "patch_dns.c",
    "patch_fds.c",
    "patch_file.c",
    "patch_nowait.c",
    "patch_os.c",
    "patch_pipes.c",
    "patch_select.c",
    "patch_sendfile.c",
    "patch_socket.c",
    "patch_ssl.c",
    "patch_timeouts.c",
    "patch_whole.c",
    "tls_calls.c",
    "tls_scan.c",
    "x86_code.c",
];
const WINDOWS: &[&str] = &[
    "cfi_windows.c",
    "ident_windows.c",
    "identity_windows.c",
    "libraries_windows.c",
    "tls_scan_windows.c",
];
const HEADERS: &[&str] = &[
    "code.h",
    "elf_objects.h",
    "frames.h",
    "golib_shim.h",
    "handoff.h",
    "hooks.h",
    "imports.h",
    "internal.h",
    "movable.h",
    "object.h",
    "patch.h",
    "slot.h",
    "patch_fds.h",
    "patch_file.h",
    "patch_groups.h",
    "patch_socket.h",
    "patch_line.h",
    "patch_table.h",
    "port.h",
    "port_posix.h",
    "port_windows.h",
    "tls_calls.h",
    "versions.h",
];

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    if let Err(message) = compile_shim() {
        println!("cargo::error={message}");
    }
}

fn compile_shim() -> Result<(), String> {
    let include = include_dir()?;
    let headers_of_3_14 = include.join("internal/mimalloc");
    let mut build = cc::Build::new();
    build.opt_level(2).pic(true).std("gnu11").warnings_into_errors(true).extra_warnings(true);
    build.flag("-fno-optimize-sibling-calls").flag("-fvisibility=hidden");
    build.include("cpython");
    let mut system = vec![include.clone(), include.join("internal"), headers_of_3_14];
    system.extend(multiarch_dir(&include));
    for dir in system.iter().filter(|dir| dir.is_dir()) {
        build.flag("-isystem").flag(dir);
    }
    if let Some(parent) = include.parent() {
        // Debian's pyconfig.h includes <multiarch/python3.x/pyconfig.h>. After the system's own directories: the parent
        // may hold another libc's headers.
        build.flag("-idirafter").flag(parent);
    }
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "musl") {
        build.define("GOLIB_MUSL", None);
    }
    // In a patch release no version number tells it.
    let state = std::fs::read_to_string(include.join("cpython/pystate.h")).unwrap_or_default();
    if state.contains("datastack_cached_chunk") {
        build.define("GOLIB_CACHES_CHUNK", None);
    }
    let windows = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "windows");
    let own = if windows { WINDOWS } else { POSIX };
    for source in SOURCES.iter().chain(own) {
        println!("cargo::rerun-if-changed=cpython/{source}");
        build.file(Path::new("cpython").join(source));
    }
    for header in HEADERS {
        println!("cargo::rerun-if-changed=cpython/{header}");
    }
    build.try_compile("golib_shim").map_err(|e| format!("the C shim does not compile: {e}"))?;
    if windows {
        link_interpreter();
    }
    Ok(())
}

/// On Windows every import names its library: the shim's come from the interpreter's DLL, by itself or its import library,
/// which lies in `GOLIB_PYTHON_LIB` (cross builds), else where the interpreter says.
fn link_interpreter() {
    println!("cargo::rerun-if-env-changed=GOLIB_PYTHON_LIB");
    let config = pyo3_build_config::get();
    let dir =
        std::env::var("GOLIB_PYTHON_LIB").ok().or_else(|| config.lib_dir().map(str::to_owned));
    if let Some(dir) = dir {
        println!("cargo::rustc-link-search=native={dir}");
    }
    let version = config.version();
    println!("cargo::rustc-link-lib=dylib=python{}{}", version.major, version.minor);
}

/// The directory of `Python.h`: `GOLIB_PYTHON_INCLUDE` if set (cross builds), else what the interpreter says.
fn include_dir() -> Result<PathBuf, String> {
    println!("cargo::rerun-if-env-changed=GOLIB_PYTHON_INCLUDE");
    if let Some(dir) = std::env::var_os("GOLIB_PYTHON_INCLUDE") {
        return Ok(PathBuf::from(dir));
    }
    let config = pyo3_build_config::get();
    let python = config
        .executable()
        .ok_or("PyO3 found no Python interpreter to build for; set PYO3_PYTHON")?;
    println!("cargo::rerun-if-changed={python}");
    let script = "import sysconfig; print(sysconfig.get_path('include'))";
    let output = Command::new(python)
        .args(["-I", "-c", script])
        .output()
        .map_err(|e| format!("{python} does not run: {e}"))?;
    let reported = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let found = relocated(Path::new(python), &reported).ok_or_else(|| {
        format!("no Python.h in {}: install Python's headers", reported.display())
    })?;
    Ok(found)
}

/// `reported`, or the same path below the root that the interpreter was unpacked into.
fn relocated(python: &Path, reported: &Path) -> Option<PathBuf> {
    if reported.join("Python.h").is_file() {
        let below_root = root_of(python).map(|root| root.join(strip_root(reported)));
        return Some(
            below_root
                .filter(|dir| dir.join("Python.h").is_file())
                .unwrap_or_else(|| reported.to_owned()),
        );
    }
    let dir = root_of(python)?.join(strip_root(reported));
    dir.join("Python.h").is_file().then_some(dir)
}

/// The directory that holds the interpreter's `usr/bin`, symbolic links (virtual environments) followed.
fn root_of(python: &Path) -> Option<PathBuf> {
    let real = python.canonicalize().ok()?;
    let bin = real.parent()?;
    (bin.ends_with("usr/bin"))
        .then(|| bin.parent().and_then(Path::parent).map(Path::to_owned))
        .flatten()
}

fn strip_root(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Debian's /usr/include/<multiarch>/python3.x beside /usr/include/python3.x.
fn multiarch_dir(include: &Path) -> Option<PathBuf> {
    let target = std::env::var("TARGET").ok()?;
    let multiarch = target.replace("-unknown", "");
    Some(include.parent()?.join(multiarch).join(include.file_name()?))
}
