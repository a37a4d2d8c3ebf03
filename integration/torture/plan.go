package torture

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Kind of a fault.
type Kind string

// The kinds of faults.
const (
	Kill        Kind = "kill"         // SIGKILL a worker, which comes back
	Freeze      Kind = "freeze"       // SIGSTOP a worker past its session, then SIGCONT
	Pause       Kind = "pause"        // SIGSTOP a worker for less than its session
	Term        Kind = "term"         // SIGTERM a worker, which comes back
	Add         Kind = "add"          // one more worker
	Remove      Kind = "remove"       // one worker less, by SIGTERM
	Storm       Kind = "storm"        // several joins and leaves in a row
	BrokerKill  Kind = "broker-kill"  // SIGKILL a broker, which comes back
	BrokerPause Kind = "broker-pause" // SIGSTOP a broker, then SIGCONT
	Leader      Kind = "leader"       // move the leaders of some partitions
	Cut         Kind = "cut"          // close connections between workers and brokers
	Slow        Kind = "slow"         // latency between workers and brokers
	Stall       Kind = "stall"        // connections that carry nothing, then break
	Registry    Kind = "registry"     // the registry refuses connections
	DiskFull    Kind = "disk-full"    // no space in the model cache while a version is wanted
	Hang        Kind = "hang"         // a worker's alias names a model that hangs
)

// deck is how often each kind comes within a round: every round has all kinds.
var deck = []struct { //nolint:gochecknoglobals // a table
	kind  Kind
	times int
}{
	{Kill, 12},
	{Freeze, 4},
	{Pause, 4},
	{Term, 8},
	{Add, 4},
	{Remove, 4},
	{Storm, 2},
	{BrokerKill, 3},
	{BrokerPause, 3},
	{Leader, 6},
	{Cut, 7},
	{Slow, 3},
	{Stall, 4},
	{Registry, 2},
	{DiskFull, 2},
	{Hang, 1},
}

// Kinds lists all, in the order of the report.
func Kinds() []Kind {
	kinds := make([]Kind, len(deck))
	for i, d := range deck {
		kinds[i] = d.kind
	}
	return kinds
}

// Shape is what the faults are drawn for.
type Shape struct {
	Brokers int
	Slots   int // places for workers
	Running int // places taken at the start, the first ones
	Least   int // workers that are left running
	Session time.Duration
	// Versions are the good versions of the model, from 1 on.
	Versions int
	// Topics whose leaders are moved, with their partitions.
	Topics map[string]int
}

// Step is one part of a storm.
type Step struct {
	Worker int           `json:"worker"`
	Join   bool          `json:"join"`
	Pause  time.Duration `json:"pause"`
}

// Fault is one to be made. Fields that its kind does not need are -1 or empty.
type Fault struct {
	N         int           `json:"n"`
	Kind      Kind          `json:"kind"`
	Pause     time.Duration `json:"pause"` // before it
	Hold      time.Duration `json:"hold"`  // how long it lasts
	Worker    int           `json:"worker"`
	Broker    int           `json:"broker"`
	Version   int           `json:"version"` // that the worker's alias moves to
	Topic     string        `json:"topic,omitempty"`
	Partition int           `json:"partition"`
	Count     int           `json:"count,omitempty"`     // partitions whose leaders move
	Direction string        `json:"direction,omitempty"` // of a stall: up, down or both
	Delay     time.Duration `json:"delay,omitempty"`     // of slow connections
	Steps     []Step        `json:"steps,omitempty"`
}

// Needs are what the fault has for itself until it is over.
func (f Fault) Needs() []string {
	var needs []string
	if f.Worker >= 0 {
		needs = append(needs, worker(f.Worker))
	}
	for _, s := range f.Steps {
		if !slices.Contains(needs, worker(s.Worker)) {
			needs = append(needs, worker(s.Worker))
		}
	}
	switch f.Kind { //nolint:exhaustive // the others need a worker alone
	case BrokerKill, BrokerPause:
		needs = append(needs, "brokers") // one at a time: the promise is about one
	case Cut, Slow, Stall:
		needs = append(needs, fmt.Sprintf("net-%d-%d", f.Broker, f.Worker))
	case Registry, DiskFull, Hang:
		needs = append(needs, string(f.Kind))
	}
	return needs
}

func worker(slot int) string { return fmt.Sprintf("worker-%d", slot) }

// String is one line for people.
func (f Fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "#%d %s", f.N, f.Kind)
	if f.Worker >= 0 {
		fmt.Fprintf(&b, " %s", worker(f.Worker))
	}
	if f.Broker >= 0 {
		fmt.Fprintf(&b, " broker-%d", f.Broker+1)
	}
	if f.Topic != "" {
		fmt.Fprintf(&b, " %s/%d and %d more", f.Topic, f.Partition, f.Count-1)
	}
	for _, s := range f.Steps {
		fmt.Fprintf(&b, " %s%d", map[bool]string{true: "+", false: "-"}[s.Join], s.Worker)
	}
	if f.Version > 0 {
		fmt.Fprintf(&b, " to version %d", f.Version)
	}
	if f.Direction != "" {
		fmt.Fprintf(&b, " %s", f.Direction)
	}
	if f.Delay > 0 {
		fmt.Fprintf(&b, " by %s", f.Delay)
	}
	if f.Hold > 0 {
		fmt.Fprintf(&b, " for %s", f.Hold)
	}
	return b.String()
}

// Plan draws n faults. The same seed and shape give the same faults. A fault is
// drawn only when, by the time that the ones before it are thought to take, what
// it needs is free: the bench waits when it is not.
func Plan(seed uint64, n int, s Shape) []Fault {
	p := &planner{Shape: s, r: rand.New(rand.NewPCG(seed, 0x746f7274)), busy: make(map[string]time.Duration)} //nolint:gosec // replayable, no secret
	for i := range s.Slots {
		p.running = append(p.running, i < s.Running)
	}
	faults := make([]Fault, 0, n)
	for len(faults) < n {
		f := p.next(len(faults) + 1)
		faults = append(faults, f)
	}
	return faults
}
