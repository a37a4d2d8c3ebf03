// Package announce lets a pool of workers ask its registry as one. A member that
// the pool elects asks what every reference names and writes the answers to a
// compacted topic; all members, it included, read that topic from its start,
// without a group. A hundred workers so cost the registry what one does. The
// topic also carries what the members have to tell each other of a reference:
// that they want it asked for, that it should be asked for now, and that a
// version was taken back.
//
// Nothing depends on the topic. Where it is missing or silent, each member asks
// the registry by itself.
package announce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/metrics"
)

// Config of a [Board].
type Config struct {
	Session    time.Duration `env:"MODEL_POLLER_SESSION" envDefault:"10s" help:"Silence after which another worker is elected to ask the registry for the pool."`
	Secret     string        `env:"WEBHOOK_SECRET" secret:"true" help:"Secret of MLflow's webhook, which POST /webhooks/mlflow on MILLRACE_ADMIN_ADDR then takes; without one there is no such path."`
	SecretFile string        `env:"WEBHOOK_SECRET_FILE" help:"File with that secret; read at each delivery, so that it may be rotated."`
}

// Validate joins all that is wrong.
func (c Config) Validate() error {
	var errs []error
	if c.Session <= 0 {
		errs = append(errs, fmt.Errorf("MILLRACE_MODEL_POLLER_SESSION: must be above 0, is %s", c.Session))
	}
	if c.Secret != "" && c.SecretFile != "" {
		errs = append(errs, errors.New("MILLRACE_WEBHOOK_SECRET and MILLRACE_WEBHOOK_SECRET_FILE exclude each other"))
	}
	return errors.Join(errs...)
}

// Deps is what a [Board] works with.
type Deps struct {
	Topic string // "" is none: every member asks by itself
	Group string // the pool's; the election is held in a group of its own beside it
	Scope []string
	Poll  time.Duration // how often the registry is asked
	Self  string        // this member, for people

	// Resolve asks the registry what a reference names. The answer is what the
	// members of the pool make of it: no one else looks inside.
	Resolve func(ctx context.Context, reference string) (json.RawMessage, error)
	// Missing says whether an error of Resolve is that there is no such thing.
	Missing func(error) bool
	// Identity tells the versions that answers name apart.
	Identity func(answer json.RawMessage) string

	Log     *slog.Logger
	Metrics *metrics.Announce
	Opts    []kgo.Opt // how brokers are reached
}

// Board is a member's view of the topic. It is safe for concurrent use.
type Board struct {
	cfg Config
	Deps

	nudges    chan struct{} // capacity 1: asked for here
	ask       chan struct{} // capacity 1: the elected should ask the registry now
	elected   chan bool     // capacity 1: the newest verdict of the election
	ready     chan struct{} // closed when the topic was read once, or cannot be
	readyOnce sync.Once
	followed  chan struct{} // closed when a reference is

	followedOnce sync.Once

	writer atomic.Pointer[kgo.Client] // nil while the topic is not there

	mu      sync.Mutex // guards what follows
	top     int64      // the largest epoch that was seen
	leading int64      // the epoch of this member's own election; 0: it is not elected
	answers map[string]*answer
	wants   map[string]time.Time // when a reference was last said to be wanted
	takes   map[string]*taken
	subs    map[string]chan time.Duration
}

// New returns a board that Run fills.
func New(cfg Config, d Deps) (*Board, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Board{
		cfg: cfg, Deps: d, followed: make(chan struct{}),
		nudges: make(chan struct{}, 1), ask: make(chan struct{}, 1), elected: make(chan bool, 1), ready: make(chan struct{}),
		answers: make(map[string]*answer), wants: make(map[string]time.Time), takes: make(map[string]*taken),
		subs: make(map[string]chan time.Duration),
	}, nil
}

// Follow says that this member follows a reference. The channel gets a duration
// when it should be asked for within that time, since something changed. It is
// the same for the same reference.
func (b *Board) Follow(reference string) <-chan time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.subs[reference]
	if c == nil {
		c = make(chan time.Duration, 1)
		b.subs[reference] = c
		b.followedOnce.Do(func() { close(b.followed) })
	}
	return c
}

// Run reads, takes part in the election, and asks the registry when it has won,
// until ctx ends. It returns nil, and joins all it started.
func (b *Board) Run(ctx context.Context) error {
	if b.Topic == "" {
		b.settled()
	}
	var wg sync.WaitGroup
	wg.Go(func() { b.pass(ctx) })
	select { // who follows nothing needs no topic
	case <-b.followed:
	case <-ctx.Done():
	}
	if b.Topic != "" {
		wg.Go(func() { b.read(ctx) })
		wg.Go(func() { b.stand(ctx) })
		wg.Go(func() { b.serve(ctx) })
	}
	wg.Wait()
	return nil
}

// patience is how long a member that starts waits for the topic before it asks
// the registry by itself.
const patience = 5 * time.Second

// Announced is what the registry said of a reference.
type Announced struct {
	Answer  json.RawMessage // the last good one, when Failed is set
	At      time.Time       // when the registry was asked
	Failed  error           // what asking failed with
	Missing bool            // it failed since there is no such thing
}

// Ask returns what was announced of a reference. It reports false when nothing
// was of late, and the member has to ask by itself. The first calls wait for the
// topic to be read.
func (b *Board) Ask(ctx context.Context, reference string) (found Announced, ok bool) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-b.ready:
	case <-timer.C:
	case <-ctx.Done():
	}
	if b.Topic == "" {
		return Announced{}, false
	}
	b.want(ctx, reference)
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.answers[reference]
	if a == nil || !a.holds(b.Poll) {
		b.Metrics.Alone.Inc()
		return Announced{}, false
	}
	found = Announced{Answer: a.Answer, At: a.At}
	if a.Error != "" {
		found.Failed, found.Missing = errors.New(a.Error), a.Missing
	}
	return found, true
}

// holds says whether an announcement is fresh enough to go by.
func (a *answer) holds(poll time.Duration) bool {
	return time.Since(a.heard) < tolerance*max(poll, a.Period)
}

// tolerance is how many periods an announcement holds.
const tolerance = 3

// wake is sent without waiting: one that waits is as good. The caller holds mu.
func (b *Board) wake(reference string, within time.Duration) {
	c := b.subs[reference]
	if c == nil {
		return
	}
	select {
	case c <- within:
		return
	default:
	}
	select { // the sooner of the two stays
	case before := <-c:
		within = min(within, before)
	default:
	}
	select {
	case c <- within:
	default:
	}
}

// Nudge has the registry asked soon, by whoever is elected. It never waits;
// many at a time are as one.
func (b *Board) Nudge() {
	select {
	case b.nudges <- struct{}{}:
	default:
	}
}

// nudgePause is the least time between two nudges passed on, and between two
// times that the elected one follows them.
const nudgePause = time.Second

// pass hands nudges to the elected member, or to this one's followers where
// there is no topic to hand them through.
func (b *Board) pass(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.nudges:
		}
		if b.Topic == "" || b.write(ctx, kindNudge, "", note{At: time.Now()}) != nil {
			b.mu.Lock()
			for r := range b.subs {
				b.wake(r, 0)
			}
			b.mu.Unlock()
		}
		if !sleep(ctx, nudgePause) {
			return
		}
	}
}

// sleep reports false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (b *Board) settled() { b.readyOnce.Do(func() { close(b.ready) }) }

// references are those that the elected member asks for, its own and those that
// others want, and those that nobody has wanted for long.
func (b *Board) references(now time.Time) (wanted, gone []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for r := range b.subs {
		wanted = append(wanted, r)
	}
	for r, at := range b.wants {
		switch {
		case b.subs[r] != nil:
		case now.Sub(at) < wantHolds*b.Poll:
			wanted = append(wanted, r)
		default:
			delete(b.wants, r)
			gone = append(gone, r)
		}
	}
	slices.Sort(wanted)
	return wanted, gone
}
