package transaction

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

// Config is how requests are taken in and answered exactly once.
type Config struct {
	ID       string        `env:"TRANSACTIONAL_ID" help:"Exactly-once: beginning of the transactional ids of this worker's lanes. No other live worker may have it, and it should outlive a restart: then the restarted worker ends at once what the crashed one left open. Empty: from HOSTNAME when that ends in a number, as the pods of a StatefulSet are called; else one that no other process has."`
	Lanes    int           `env:"TRANSACTION_LANES" envDefault:"0" help:"Exactly-once: transactions that run side by side, each a member of the group; 0: one a core, at least 2 and at most 4."`
	Records  int           `env:"TRANSACTION_RECORDS" envDefault:"4096" help:"Exactly-once: most requests in one transaction."`
	Interval time.Duration `env:"TRANSACTION_INTERVAL" envDefault:"50ms" help:"Exactly-once: longest that a transaction gathers requests: answers wait for that long at low load; 0: it takes what is there."`
	Timeout  time.Duration `env:"TRANSACTION_TIMEOUT" envDefault:"10s" help:"Exactly-once: time after which the broker aborts what a crashed worker left open; readers of the results wait for that long."`

	// Own says that no other process ever has the ID: who is fenced then was too slow, and nobody took its place.
	Own bool `env:"-"`
}

// Validate reports every mistake, each with the variable that holds it.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, name, want string, v any) {
		if !ok {
			errs = append(errs, fmt.Errorf("MILLRACE_%s: %v is not %s", name, v, want))
		}
	}
	check(c.Lanes >= 0 && c.Lanes <= 64, "TRANSACTION_LANES", "between 0 and 64", c.Lanes)
	check(c.Records > 0, "TRANSACTION_RECORDS", "above 0", c.Records)
	check(c.Interval >= 0 && c.Interval <= time.Minute, "TRANSACTION_INTERVAL", "between 0 and 1m", c.Interval)
	check(c.Timeout >= time.Second, "TRANSACTION_TIMEOUT", "1s or above", c.Timeout)
	return errors.Join(errs...)
}

func (c Config) lanes() int {
	if c.Lanes > 0 {
		return c.Lanes
	}
	return min(4, max(2, runtime.GOMAXPROCS(0)))
}

// The values of Member's Protocol and OffsetReset that are not the default.
const (
	protocolConsumer = "consumer"
	resetLatest      = "latest"
)

// Member is how a lane takes part in the consumer group. The settings are those
// of the at-least-once intake, which says what they mean; bounds are the whole
// worker's.
type Member struct {
	Group             string
	InstanceID        string // the lane's number is appended
	Protocol          string
	OffsetReset       string
	SessionTimeout    time.Duration
	RebalanceTimeout  time.Duration
	HeartbeatInterval time.Duration
	RevokeDrain       time.Duration
	DrainTimeout      time.Duration
	WatchdogTimeout   time.Duration
	LagInterval       time.Duration
	MaxRecords        int
	MaxAttempts       int
	MaxBytes          int64
	FetchMaxBytes     int32
}

// revokeDrain is the longest that a transaction holds up a rebalance. It leaves
// two thirds of the rebalance timeout to its end and the rejoin: past it, the
// broker evicts the member.
func (m Member) revokeDrain() time.Duration {
	if m.RevokeDrain > 0 {
		return m.RevokeDrain
	}
	return m.RebalanceTimeout / 3
}
