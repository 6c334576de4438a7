//! Why a goroutine waits: one reason for each park site, in the words of a dump.
//!
//! Go: runtime/runtime2.go (waitReason)

/// The reason of a park.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum WaitReason {
    /// Not waiting.
    Zero,
    /// A send on a full channel.
    ChanSend,
    /// A receive on an empty channel.
    ChanReceive,
    /// A send on the nil channel.
    ChanSendNil,
    /// A receive on the nil channel.
    ChanReceiveNil,
    /// A select with cases.
    Select,
    /// A select without cases.
    SelectNoCases,
    /// `sleep`.
    Sleep,
    /// `WaitGroup::wait`.
    WaitGroupWait,
    /// `Mutex::lock`.
    MutexLock,
    /// `RwLock::read`.
    RwMutexRLock,
    /// `RwLock::write`.
    RwMutexLock,
    /// `Cond::wait`.
    CondWait,
    /// A semaphore.
    SemAcquire,
    /// `Event.wait`.
    EventWait,
    /// Waiting for a goroutine's end.
    Join,
    /// Waiting for I/O.
    IoWait,
    /// Parked forever.
    Forever,
}

impl WaitReason {
    /// The words of a dump and of `Goroutine.status()`.
    pub fn text(self) -> &'static str {
        match self {
            WaitReason::Zero => "",
            WaitReason::ChanSend => "chan send",
            WaitReason::ChanReceive => "chan receive",
            WaitReason::ChanSendNil => "chan send (nil chan)",
            WaitReason::ChanReceiveNil => "chan receive (nil chan)",
            WaitReason::Select => "select",
            WaitReason::SelectNoCases => "select (no cases)",
            WaitReason::Sleep => "sleep",
            WaitReason::WaitGroupWait => "sync.WaitGroup.Wait",
            WaitReason::MutexLock => "sync.Mutex.Lock",
            WaitReason::RwMutexRLock => "sync.RWMutex.RLock",
            WaitReason::RwMutexLock => "sync.RWMutex.Lock",
            WaitReason::CondWait => "sync.Cond.Wait",
            WaitReason::SemAcquire => "semacquire",
            WaitReason::EventWait => "event wait",
            WaitReason::Join => "join",
            WaitReason::IoWait => "IO wait",
            WaitReason::Forever => "wait forever",
        }
    }
}
