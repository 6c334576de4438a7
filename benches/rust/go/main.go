// Go's side of the peers' benchmark: the same workloads, arguments and output as the Rust peers (see ../rust/common).
// Build: `make bench-rust`
package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var workload, opt = "", ""
var procs, argN = 1, uint64(0)

func report(n, ops uint64, t time.Duration, ok bool, extra string) {
	check := "ok"
	if !ok {
		check = "BAD"
	}
	fmt.Printf("peer=go wl=%s procs=%d n=%d secs=%.4f ns_op=%.1f check=%s %s\n", workload, procs, n, t.Seconds(),
		float64(t.Nanoseconds())/float64(ops), check, extra)
	os.Exit(map[bool]int{true: 0, false: 3}[ok])
}

func mem() (rss, pte, size float64) {
	b, _ := os.ReadFile("/proc/self/status")
	get := func(k string) float64 {
		for _, l := range strings.Split(string(b), "\n") {
			if strings.HasPrefix(l, k) {
				v, _ := strconv.Atoi(strings.Fields(l)[1])
				return float64(v) * 1024
			}
		}
		return 0
	}
	return get("VmRSS:"), get("VmPTE:"), get("VmSize:")
}

func rnd(x uint64) uint64 {
	x = (x + 1) * 0x9E3779B97F4A7C15
	x ^= x >> 12
	x ^= x << 25
	x ^= x >> 27
	return (x * 0x2545F4914F6CDD1D) >> 11
}

//go:noinline
func spin(iters uint64) uint64 {
	x := uint64(88172645463325252)
	for i := uint64(0); i < iters; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

func calibrate(d time.Duration) uint64 {
	spin(50_000_000) // the clock's warm-up
	t := time.Now()
	spin(50_000_000)
	return uint64(50_000_000 * d.Seconds() / time.Since(t).Seconds())
}

func fib(n uint64) uint64 {
	if n < 2 {
		return n
	}
	return fib(n-1) + fib(n-2)
}

func pfib(out chan<- uint64, n uint64) {
	if n <= 22 {
		out <- fib(n)
		return
	}
	c := make(chan uint64, 2)
	go pfib(c, n-1)
	go pfib(c, n-2)
	out <- <-c + <-c
}

func skynet(out chan<- uint64, num, size uint64) {
	if size == 1 {
		out <- num
		return
	}
	c := make(chan uint64)
	for i := uint64(0); i < 10; i++ {
		go skynet(c, num+i*size/10, size/10)
	}
	s := uint64(0)
	for i := 0; i < 10; i++ {
		s += <-c
	}
	out <- s
}

func main() {
	for _, s := range os.Args[1:] {
		k, v, ok := strings.Cut(s, "=")
		switch {
		case !ok:
			workload = s
		case k == "procs":
			procs, _ = strconv.Atoi(v)
		case k == "n":
			argN, _ = strconv.ParseUint(strings.ReplaceAll(v, "_", ""), 10, 64)
		case k == "opt":
			opt = v
		}
	}
	if opt == "nogc" {
		debug.SetGCPercent(-1)
	}
	runtime.GOMAXPROCS(procs)
	N := func(d uint64) uint64 {
		if argN != 0 {
			return argN
		}
		return d
	}
	switch workload {
	case "spawn_join":
		n := N(1_000_000)
		var c atomic.Uint64
		var wg sync.WaitGroup
		t := time.Now()
		for i := uint64(0); i < n; i++ {
			wg.Add(1)
			go func() {
				c.Add(i)
				wg.Done()
			}()
		}
		wg.Wait()
		report(n, n, time.Since(t), c.Load() == n*(n-1)/2, "")
	case "spawn_batch":
		n := N(1_000_000) / 1000 * 1000
		var c atomic.Uint64
		t := time.Now()
		for b := uint64(0); b < n/1000; b++ {
			var wg sync.WaitGroup
			for i := b * 1000; i < (b+1)*1000; i++ {
				wg.Add(1)
				go func() {
					c.Add(i)
					wg.Done()
				}()
			}
			wg.Wait()
		}
		report(n, n, time.Since(t), c.Load() == n*(n-1)/2, "")
	case "yield":
		n := N(2_000_000)
		var wg sync.WaitGroup
		t := time.Now()
		for k := 0; k < 2; k++ {
			wg.Add(1)
			go func() {
				for i := uint64(0); i < n; i++ {
					runtime.Gosched()
				}
				wg.Done()
			}()
		}
		wg.Wait()
		report(n, 2*n, time.Since(t), true, "")
	case "pingpong":
		n := N(500_000)
		p, q := make(chan uint64), make(chan uint64)
		go func() {
			for v := range p {
				q <- v + 1
			}
		}()
		v, t := uint64(0), time.Now()
		for i := uint64(0); i < n; i++ {
			p <- v
			v = <-q
		}
		report(n, n, time.Since(t), v == n, "")
	case "prodcons":
		n := N(5_000_000)
		c := make(chan uint64, 128)
		t := time.Now()
		go func() {
			for i := uint64(0); i < n; i++ {
				c <- i
			}
		}()
		s := uint64(0)
		for i := uint64(0); i < n; i++ {
			s += <-c
		}
		report(n, n, time.Since(t), s == n*(n-1)/2, "")
	case "mpmc":
		n := N(2_000_000) / 4 * 4
		c, sums := make(chan uint64, 128), make(chan uint64, 4)
		t := time.Now()
		for p := uint64(0); p < 4; p++ {
			go func() {
				for i := uint64(0); i < n/4; i++ {
					c <- i*4 + p
				}
			}()
			go func() {
				s := uint64(0)
				for i := uint64(0); i < n/4; i++ {
					s += <-c
				}
				sums <- s
			}()
		}
		s := <-sums + <-sums + <-sums + <-sums
		report(n, n, time.Since(t), s == n*(n-1)/2, "")
	case "select_fanin":
		n := N(1_000_000) / 4 * 4
		t := time.Now()
		var c [4]chan uint64
		for p := range c {
			ch := make(chan uint64)
			c[p] = ch
			go func() {
				for i := uint64(0); i < n/4; i++ {
					ch <- i*4 + uint64(p)
				}
			}()
		}
		a, b, d, e := c[0], c[1], c[2], c[3]
		s := uint64(0)
		for i := uint64(0); i < n; i++ {
			select {
			case v := <-a:
				s += v
			case v := <-b:
				s += v
			case v := <-d:
				s += v
			case v := <-e:
				s += v
			}
		}
		report(n, n, time.Since(t), s == n*(n-1)/2, "")
	case "sieve":
		n := N(1000)
		t := time.Now()
		c := make(chan uint64)
		go func(c chan<- uint64) {
			for i := uint64(2); ; i++ {
				c <- i
			}
		}(c)
		prime := uint64(0)
		for i := uint64(0); i < n; i++ {
			prime = <-c
			c2 := make(chan uint64)
			go func(in <-chan uint64, out chan<- uint64, prime uint64) {
				for {
					if v := <-in; v%prime != 0 {
						out <- v
					}
				}
			}(c, c2, prime)
			c = c2
		}
		report(n, n, time.Since(t), n != 1000 || prime == 7919, "")
	case "skynet":
		n := N(1_000_000)
		t := time.Now()
		c := make(chan uint64)
		go skynet(c, 0, n)
		s := <-c
		report(n, n, time.Since(t), s == n*(n-1)/2, "")
	case "parked":
		n := N(100_000)
		c := make(chan uint64)
		var up atomic.Uint64
		r0, p0, s0 := mem()
		t := time.Now()
		for i := uint64(0); i < n; i++ {
			go func() {
				up.Add(1)
				<-c
			}()
		}
		for up.Load() < n {
			time.Sleep(time.Millisecond)
		}
		d := time.Since(t)
		time.Sleep(100 * time.Millisecond)
		r1, p1, s1 := mem()
		f := float64(n)
		report(n, n, d, true, fmt.Sprintf("rss_task=%.0f pte_task=%.0f vm_task=%.0f", (r1-r0)/f, (p1-p0)/f, (s1-s0)/f))
	case "timers":
		n := N(100_000)
		late := make([]uint32, n)
		var wg sync.WaitGroup
		t := time.Now()
		for i := uint64(0); i < n; i++ {
			wg.Add(1)
			go func() {
				d := time.Duration(rnd(i)%1_000_000) * time.Microsecond
				t := time.Now()
				time.Sleep(d)
				late[i] = uint32(max(time.Since(t)-d, 0).Microseconds())
				wg.Done()
			}()
		}
		wg.Wait()
		e := time.Since(t)
		slices.Sort(late)
		at := func(p float64) uint32 { return late[int(float64(n-1)*p)] }
		report(n, n, e, true, fmt.Sprintf("over_ms=%.1f p50_us=%d p99_us=%d max_us=%d", e.Seconds()*1e3-1000, at(.5), at(.99), at(1)))
	case "mutex":
		n := N(2_000_000)
		var l sync.Mutex
		var wg sync.WaitGroup
		x := uint64(0)
		t := time.Now()
		for k := 0; k < 4; k++ {
			wg.Add(1)
			go func() {
				for i := uint64(0); i < n; i++ {
					l.Lock()
					x++
					l.Unlock()
				}
				wg.Done()
			}()
		}
		wg.Wait()
		report(n, 4*n, time.Since(t), x == 4*n, "")
	case "blocking", "cpu_hog":
		iters := calibrate(300 * time.Millisecond)
		var done atomic.Bool
		gap := make(chan int64, 1)
		go func() {
			maxGap, last := int64(0), time.Now()
			for !done.Load() {
				time.Sleep(time.Millisecond)
				maxGap = max(maxGap, time.Since(last).Microseconds())
				last = time.Now()
			}
			gap <- maxGap
		}()
		time.Sleep(50 * time.Millisecond)
		t := time.Now()
		end := make(chan bool)
		go func() {
			if workload == "blocking" {
				ts := syscall.NsecToTimespec(300_000_000)
				syscall.Nanosleep(&ts, nil)
			} else {
				spin(iters)
			}
			end <- true
		}()
		<-end
		d := time.Since(t)
		done.Store(true)
		report(1, 1, d, true, fmt.Sprintf("max_gap_us=%d", <-gap))
	case "parallel":
		n := N(36)
		t := time.Now()
		c := make(chan uint64, 1)
		go pfib(c, n)
		v := <-c
		report(n, 1, time.Since(t), n != 36 || v == 14930352, "")
	case "tcp_echo":
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		fmt.Printf("port=%d\n", l.Addr().(*net.TCPAddr).Port)
		for {
			c, err := l.Accept()
			if err != nil {
				panic(err)
			}
			go func() {
				buf := make([]byte, 4096)
				for {
					n, err := c.Read(buf)
					if n == 0 || err != nil {
						c.Close()
						return
					}
					if _, err := c.Write(buf[:n]); err != nil {
						return
					}
				}
			}()
		}
	default:
		panic("unknown workload " + workload)
	}
}
