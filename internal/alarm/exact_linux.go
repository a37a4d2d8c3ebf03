package alarm

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// exact waits in the runtime's poller, for a timer of the kernel's. It returns nil when
// there is none to be had.
func exact(ring func()) *Alarm {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), "timerfd")
	raw, err := f.SyscallConn()
	if err != nil {
		_ = f.Close()
		return nil
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var times [8]byte // that it expired
		for {
			if _, err := f.Read(times[:]); err != nil {
				return // closed: nothing else fails on a timer
			}
			ring()
		}
	}()
	return &Alarm{
		set: func(d time.Duration) {
			due := unix.ItimerSpec{Value: unix.NsecToTimespec(max(1, d.Nanoseconds()))} // 0 would disarm it
			// Control holds the descriptor, which after Close may be another file's.
			var refused error
			closed := raw.Control(func(fd uintptr) { refused = unix.TimerfdSettime(int(fd), 0, &due, nil) })
			if closed != nil || refused != nil {
				time.AfterFunc(d, ring)
			}
		},
		end: func() {
			_ = f.Close()
			<-ended
		},
	}
}
