package consumer

import (
	"errors"
	"fmt"
	"time"

	"github.com/millrace/millrace/internal/poison"
)

// The values of GROUP_PROTOCOL and AUTO_OFFSET_RESET.
const (
	protocolClassic  = "classic"
	protocolConsumer = "consumer"
	resetEarliest    = "earliest"
	resetLatest      = "latest"
)

// Config is how requests are taken in.
type Config struct {
	Group             string        `env:"GROUP" envDefault:"millrace" help:"Consumer group of the pool."`
	InstanceID        string        `env:"GROUP_INSTANCE_ID" help:"Makes this a static member, which keeps its partitions over a restart within SESSION_TIMEOUT; unique in the group."`
	Protocol          string        `env:"GROUP_PROTOCOL" envDefault:"classic" help:"Classic, or consumer for the server-side assignor (KIP-848, Kafka 4.3 and later)."`
	OffsetReset       string        `env:"AUTO_OFFSET_RESET" envDefault:"earliest" help:"Earliest or latest: where a partition without a commit starts."`
	SessionTimeout    time.Duration `env:"SESSION_TIMEOUT" envDefault:"45s" help:"Silence after which the broker takes a member for dead."`
	RebalanceTimeout  time.Duration `env:"REBALANCE_TIMEOUT" envDefault:"60s" help:"Time that members have to give up partitions."`
	HeartbeatInterval time.Duration `env:"HEARTBEAT_INTERVAL" envDefault:"3s" help:"Time between two heartbeats."`
	MaxRecords        int           `env:"MAX_IN_FLIGHT_RECORDS" envDefault:"16384" help:"Most records that may be in the pool at once."`
	MaxBytes          int64         `env:"MAX_IN_FLIGHT_BYTES" envDefault:"67108864" help:"Most bytes of records that may be in the pool at once; a larger record passes alone."`
	FetchMaxBytes     int32         `env:"FETCH_MAX_BYTES" envDefault:"16777216" help:"Most bytes that one fetch from one broker returns: the memory of a backlog."`
	CommitInterval    time.Duration `env:"COMMIT_INTERVAL" envDefault:"500ms" help:"Time between two commits; at most 1s, for lag is seen through them."`
	RevokeDrain       time.Duration `env:"REVOKE_DRAIN_TIMEOUT" envDefault:"0s" help:"Longest wait for running records of a revoked partition; 0: a third of REBALANCE_TIMEOUT."`
	DrainTimeout      time.Duration `env:"DRAIN_TIMEOUT" envDefault:"20s" help:"Longest wait at a stop for the records that are being worked on; those that wait for their turn are left to whoever has the partition next."`
	WatchdogTimeout   time.Duration `env:"WATCHDOG_TIMEOUT" envDefault:"2m" help:"Longest time that a partition with records in flight may make no progress."`
	BlockedTimeout    time.Duration `env:"BLOCKED_TIMEOUT" envDefault:"0s" help:"Time without progress after which the record at the head of a partition is told of; 0: a quarter of WATCHDOG_TIMEOUT."`
	MaxAttempts       int           `env:"MAX_ATTEMPTS" envDefault:"5" help:"Times that workers may end at a record, or that its answer may be refused for good, before it is answered with an error; 3 or above."`
	LagInterval       time.Duration `env:"LAG_INTERVAL" envDefault:"5s" help:"Time between two looks at the ends of the held partitions."`
}

// Validate reports every mistake, each with the variable that holds it.
func (c Config) Validate() error {
	var errs []error
	bad := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("MILLRACE_"+name+": "+format, args...))
	}
	if c.Group == "" {
		bad("GROUP", "must not be empty")
	}
	if c.Protocol != protocolClassic && c.Protocol != protocolConsumer {
		bad("GROUP_PROTOCOL", "%q is neither classic nor consumer", c.Protocol)
	}
	if c.OffsetReset != resetEarliest && c.OffsetReset != resetLatest {
		bad("AUTO_OFFSET_RESET", "%q is neither earliest nor latest", c.OffsetReset)
	}
	for _, n := range []struct {
		name string
		v    int64
	}{
		{"SESSION_TIMEOUT", int64(c.SessionTimeout)},
		{"REBALANCE_TIMEOUT", int64(c.RebalanceTimeout)},
		{"HEARTBEAT_INTERVAL", int64(c.HeartbeatInterval)},
		{"MAX_IN_FLIGHT_RECORDS", int64(c.MaxRecords)},
		{"MAX_IN_FLIGHT_BYTES", c.MaxBytes},
		{"FETCH_MAX_BYTES", int64(c.FetchMaxBytes)},
		{"COMMIT_INTERVAL", int64(c.CommitInterval)},
		{"DRAIN_TIMEOUT", int64(c.DrainTimeout)},
		{"WATCHDOG_TIMEOUT", int64(c.WatchdogTimeout)},
		{"LAG_INTERVAL", int64(c.LagInterval)},
	} {
		if n.v <= 0 {
			bad(n.name, "must be above zero")
		}
	}
	if c.MaxAttempts <= poison.CrowdEnds {
		bad("MAX_ATTEMPTS", "%d is below %d: a record is passed over only once it was alone", c.MaxAttempts, poison.CrowdEnds+1)
	}
	if c.BlockedTimeout < 0 || c.BlockedTimeout >= c.WatchdogTimeout && c.WatchdogTimeout > 0 {
		bad("BLOCKED_TIMEOUT", "%s is not between 0 and WATCHDOG_TIMEOUT (%s)", c.BlockedTimeout, c.WatchdogTimeout)
	}
	if c.CommitInterval > time.Second {
		bad("COMMIT_INTERVAL", "%s is above 1s: the group would show a lag of the rate times it", c.CommitInterval)
	}
	if c.HeartbeatInterval >= c.SessionTimeout {
		bad("HEARTBEAT_INTERVAL", "%s is not below SESSION_TIMEOUT (%s)", c.HeartbeatInterval, c.SessionTimeout)
	}
	if c.RevokeDrain < 0 || c.RevokeDrain >= c.RebalanceTimeout {
		bad("REVOKE_DRAIN_TIMEOUT", "%s is not between 0 and REBALANCE_TIMEOUT (%s)", c.RevokeDrain, c.RebalanceTimeout)
	}
	return errors.Join(errs...)
}

// revokeDrain leaves two thirds of the rebalance timeout to the commit and the
// rejoin: past it, the broker evicts the member.
func (c Config) revokeDrain() time.Duration {
	if c.RevokeDrain > 0 {
		return c.RevokeDrain
	}
	return c.RebalanceTimeout / 3
}

// blockedAfter is when a record at the head of a partition is told of.
func (c Config) blockedAfter() time.Duration {
	if c.BlockedTimeout > 0 {
		return c.BlockedTimeout
	}
	return c.WatchdogTimeout / 4
}
