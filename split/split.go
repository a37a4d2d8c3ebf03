package split

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
)

// Source gives held snapshots, as the pool's does.
type Source interface {
	Acquire(name string) (*model.Snapshot, error)
}

// Arm is a version that takes a share of a model's requests.
type Arm struct {
	Reference string // for people and series; it names the experiment
	Weight    Weight
	Model     string   // the name under which Deps.Models has the model whose requests they are
	Names     []string // by which requests may ask for that model, "" for the default
	Source    Source   // gives the version for "", and for names that ask for it
}

// Deps is what a [Split] works with.
type Deps struct {
	Log     *slog.Logger
	Metrics *metrics.Split
	Models  Source
	Arms    []Arm
	// Extra are asked, after the arms, by who names a version.
	Extra []Source
}

// Split is a pool's router, and its source: it knows the names that Route gives.
type Split struct {
	deps   Deps
	arms   []*arm
	byName map[string]*arm   // as Route names them
	groups map[string][]*arm // by what a request may ask for
}

// New makes a split of what its arms say.
func New(cfg Config, deps Deps) (*Split, error) {
	if err := Check(deps.Arms); err != nil {
		return nil, err
	}
	s := &Split{deps: deps, byName: make(map[string]*arm), groups: make(map[string][]*arm)}
	taken := make(map[string]Weight)
	for _, a := range deps.Arms {
		one := newArm(cfg, deps, a, Buckets-taken[a.Model])
		taken[a.Model] += a.Weight
		s.arms, s.byName[one.name] = append(s.arms, one), one
		for _, name := range a.Names {
			s.groups[name] = append(s.groups[name], one)
		}
	}
	return s, nil
}

// Check says what is wrong with shares: one that is given twice, or those of a
// model being more than all of its requests.
func Check(arms []Arm) error {
	var errs []error
	sums := make(map[string]Weight)
	for i, a := range arms {
		if slices.ContainsFunc(arms[:i], func(b Arm) bool { return a.Reference == b.Reference }) {
			errs = append(errs, fmt.Errorf("%s is given twice", a.Reference))
		}
		if sums[a.Model] += a.Weight; sums[a.Model] > Buckets && sums[a.Model]-a.Weight <= Buckets {
			errs = append(errs, fmt.Errorf("the shares of one model are more than 100 %% together, with %s at %s %%", a.Reference, a.Weight))
		}
	}
	return errors.Join(errs...)
}

// mark begins the names that Route gives, which no request can ask for.
const mark = "\x00"

// Route assigns a request that asks for a model and not for a version of it.
// The share of an arm that is off is the model's own: the others keep theirs.
func (s *Split) Route(r *kgo.Record, requested string) string {
	if strings.HasPrefix(requested, mark) {
		return strings.TrimLeft(requested, mark)
	}
	arms := s.groups[requested]
	if len(arms) == 0 {
		return requested
	}
	var room [64]byte
	key := Key(room[:0], r)
	for _, a := range arms {
		if a.has(key) {
			if a.on.Load() {
				return a.name
			}
			break
		}
	}
	return requested
}

// Ran counts a batch of an arm.
func (s *Split) Ran(name string, n int) {
	if a := s.byName[name]; a != nil {
		a.requests.Add(float64(n))
		a.guard.ran(n)
	}
}

// Instead gives a request that an arm failed on to the model itself, and
// switches off an arm that fails too often.
func (s *Split) Instead(name string, failed *model.Snapshot) (string, bool) {
	a := s.byName[name]
	if a == nil || a.sameAs(failed) {
		return "", false
	}
	a.failed(failed)
	return a.Model, true
}

// Acquire gives the version of an arm, or the model's own when there is none, and
// a version beside to who asks for it.
func (s *Split) Acquire(name string) (*model.Snapshot, error) {
	if a := s.byName[name]; a != nil {
		return a.acquire()
	}
	// Who asks for a version by number or alias may mean one beside, which Models
	// need not look for then.
	if strings.ContainsAny(name, "@/") {
		for _, a := range s.arms {
			if snap, err := a.Source.Acquire(name); err == nil {
				return snap, nil
			}
		}
		for _, extra := range s.deps.Extra {
			if snap, err := extra.Acquire(name); err == nil {
				return snap, nil
			}
		}
	}
	return s.deps.Models.Acquire(name)
}

// Refresh looks anew at what the arms and their models have loaded. It is called
// after each change.
func (s *Split) Refresh() {
	for _, a := range s.arms {
		a.refresh()
	}
}

// Status of an arm, as GET /models shows it.
type Status struct {
	Reference string  `json:"-"`
	Weight    float64 `json:"weight_percent"`
	Share     float64 `json:"share_percent"` // of the requests now: the weight, or 0 while it is off
	Off       string  `json:"off,omitempty"` // why it is
}

// Status lists the arms in their order.
func (s *Split) Status() []Status {
	list := make([]Status, len(s.arms))
	for i, a := range s.arms {
		list[i] = a.status()
	}
	return list
}

// Assign names the reference of the arm that a key belongs to among arms of one
// model, "" for the model's own, and its bucket in that arm's experiment.
func Assign(arms []Arm, key []byte) (reference string, bucket int) {
	rest := Weight(Buckets)
	for i := range arms {
		a := &arm{Arm: arms[i], rest: rest}
		if a.has(key) {
			return a.Reference, Bucket(a.Reference, key)
		}
		rest -= a.Weight
	}
	return "", 0
}
