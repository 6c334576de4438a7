//! What tests ask the system, or do to a socket, that std cannot.

#[cfg(unix)]
mod imp {
    use std::net::TcpStream;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    /// The CPU time of this process.
    pub fn cpu_time() -> Duration {
        // SAFETY: a plain structure that the call fills.
        let ts = unsafe {
            let mut ts: libc::timespec = std::mem::zeroed();
            libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut ts);
            ts
        };
        Duration::new(ts.tv_sec as u64, ts.tv_nsec as u32)
    }

    /// The memory of the process.
    pub fn resident_bytes() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
        // SAFETY: no pointers.
        pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize
    }

    /// The process's OS threads.
    pub fn os_threads() -> usize {
        std::fs::read_dir("/proc/self/task").unwrap().count()
    }

    /// The system's number of the calling thread.
    pub fn thread() -> i32 {
        // SAFETY: no arguments.
        unsafe { libc::syscall(libc::SYS_gettid) as i32 }
    }

    /// What the process has open.
    pub fn open_fds() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }

    /// Lets this process open `n` descriptors; false: it may not.
    pub fn allow_fds(n: u64) -> bool {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: limit is what both calls take.
        unsafe {
            libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
            limit.rlim_cur = n;
            n <= limit.rlim_max && libc::setrlimit(libc::RLIMIT_NOFILE, &limit) == 0
        }
    }

    /// Has the close of `stream` reset the connection.
    pub fn reset_at_close(stream: &TcpStream) {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let size = size_of_val(&linger) as u32;
        let (fd, at) = (stream.as_raw_fd(), (&raw const linger).cast());
        // SAFETY: linger is what this option takes.
        let r = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, at, size) };
        assert_eq!(r, 0);
    }
}

#[cfg(windows)]
mod imp {
    use std::ffi::c_void;
    use std::net::TcpStream;
    use std::os::windows::io::AsRawSocket;
    use std::time::Duration;

    #[repr(C)]
    #[derive(Default)]
    struct Counters {
        size: u32,
        faults: u32,
        peak: usize,
        working_set: usize,
        others: [usize; 6],
    }

    #[repr(C)]
    #[derive(Default)]
    struct Entry {
        size: u32,
        usage: u32,
        thread: u32,
        process: u32,
        priority: [i32; 2],
        flags: u32,
    }

    #[link(name = "kernel32")]
    unsafe extern "system" {
        fn CloseHandle(handle: *mut c_void) -> i32;
        fn CreateToolhelp32Snapshot(flags: u32, process: u32) -> *mut c_void;
        fn GetCurrentProcess() -> *mut c_void;
        fn GetCurrentThreadId() -> u32;
        fn GetProcessHandleCount(process: *mut c_void, count: *mut u32) -> i32;
        fn GetProcessTimes(
            process: *mut c_void,
            begun: *mut u64,
            ended: *mut u64,
            kernel: *mut u64,
            user: *mut u64,
        ) -> i32;
        fn K32GetProcessMemoryInfo(process: *mut c_void, out: *mut Counters, size: u32) -> i32;
        fn Thread32First(snapshot: *mut c_void, entry: *mut Entry) -> i32;
        fn Thread32Next(snapshot: *mut c_void, entry: *mut Entry) -> i32;
    }

    #[link(name = "ws2_32")]
    unsafe extern "system" {
        fn setsockopt(socket: u64, level: i32, name: i32, value: *const c_void, size: i32) -> i32;
    }

    /// The CPU time of this process.
    pub fn cpu_time() -> Duration {
        let (mut begun, mut ended, mut kernel, mut user) = (0, 0, 0, 0);
        // SAFETY: four numbers that the call fills.
        unsafe {
            GetProcessTimes(GetCurrentProcess(), &mut begun, &mut ended, &mut kernel, &mut user);
        }
        Duration::from_nanos((kernel + user) * 100)
    }

    /// The memory of the process.
    pub fn resident_bytes() -> usize {
        let mut counters = Counters { size: size_of::<Counters>() as u32, ..Default::default() };
        // SAFETY: a plain structure that the call fills.
        unsafe { K32GetProcessMemoryInfo(GetCurrentProcess(), &mut counters, counters.size) };
        counters.working_set
    }

    /// The process's OS threads.
    pub fn os_threads() -> usize {
        const TH32CS_SNAPTHREAD: u32 = 4;
        let mut entry = Entry { size: size_of::<Entry>() as u32, ..Default::default() };
        let mut count = 0;
        // SAFETY: the entry tells its size; the handle is ours.
        unsafe {
            let snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
            let mut more = Thread32First(snapshot, &mut entry) != 0;
            while more {
                count += usize::from(entry.process == std::process::id());
                more = Thread32Next(snapshot, &mut entry) != 0;
            }
            CloseHandle(snapshot);
        }
        count
    }

    /// The system's number of the calling thread.
    pub fn thread() -> i32 {
        // SAFETY: no arguments.
        unsafe { GetCurrentThreadId() as i32 }
    }

    /// What the process has open.
    pub fn open_fds() -> usize {
        let mut count = 0;
        // SAFETY: a number that the call fills.
        unsafe { GetProcessHandleCount(GetCurrentProcess(), &mut count) };
        count as usize
    }

    /// There is no such limit.
    pub fn allow_fds(_n: u64) -> bool {
        true
    }

    /// Has the close of `stream` reset the connection.
    pub fn reset_at_close(stream: &TcpStream) {
        const SOL_SOCKET: i32 = 0xffff;
        const SO_LINGER: i32 = 0x80;
        let linger: [u16; 2] = [1, 0];
        let (socket, at) = (stream.as_raw_socket(), (&raw const linger).cast());
        // SAFETY: linger is what this option takes.
        let r = unsafe { setsockopt(socket, SOL_SOCKET, SO_LINGER, at, 4) };
        assert_eq!(r, 0);
    }
}

pub use imp::*;
