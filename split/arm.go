package split

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/model"
)

// arm is one version with a share.
type arm struct {
	Arm
	name     string // as Route gives it
	rest     Weight // what the arms before it leave
	models   Source
	log      *slog.Logger
	guard    guard
	requests prometheus.Counter
	failures prometheus.Counter
	trips    prometheus.Counter
	share    prometheus.Gauge

	on atomic.Bool

	mu      sync.Mutex // guards what follows
	off     string     // why it is off, "" while it is on
	serves  string     // identity of the version that it has
	tripped string     // identity that was switched off for failing
	verdict string     // of what it was switched off for
}

// Why an arm is off before anything was looked at, and when it is of no use.
const (
	notYet   = "its version is not loaded yet"
	promoted = "it names the version that the model itself has"
)

func newArm(cfg Config, deps Deps, a Arm, rest Weight) *arm {
	return &arm{
		Arm: a, name: mark + a.Reference, rest: rest, models: deps.Models, log: deps.Log.With("reference", a.Reference), off: notYet,
		guard:    guard{Config: cfg},
		requests: deps.Metrics.Requests.WithLabelValues(a.Reference),
		failures: deps.Metrics.Failures.WithLabelValues(a.Reference),
		trips:    deps.Metrics.Trips.WithLabelValues(a.Reference),
		share:    deps.Metrics.Share.WithLabelValues(a.Reference),
	}
}

// has says whether a key belongs to the arm. Keys of the arms before it are not
// asked for: of the others, it takes as many more as make its share of all.
func (a *arm) has(key []byte) bool {
	return a.Weight > 0 && Bucket(a.Reference, key)*int(a.rest) < int(a.Weight)*Buckets
}

// acquire gives the arm's version, or the model's own while there is none.
func (a *arm) acquire() (*model.Snapshot, error) {
	if a.on.Load() {
		if s, err := a.Source.Acquire(""); err == nil {
			return s, nil
		}
	}
	return a.models.Acquire(a.Model)
}

// sameAs says whether a snapshot is that of the model itself.
func (a *arm) sameAs(s *model.Snapshot) bool {
	own, err := a.models.Acquire(a.Model)
	if err != nil {
		return true // there is nothing else
	}
	defer release(own)
	return own.Identity == s.Identity
}

// release gives up a hold. Closing is not the holder's: models are closed by who
// follows them.
func release(s *model.Snapshot) { _ = s.Release() }

// failed counts a failure of a version.
func (a *arm) failed(s *model.Snapshot) {
	a.failures.Inc()
	failures, requests, tripped := a.guard.failed()
	if !tripped {
		return
	}
	a.mu.Lock()
	again := a.tripped == s.Identity
	a.tripped, a.verdict = s.Identity, fmt.Sprintf("it failed on %d of %d requests, more than %g %%", failures, requests, a.guard.MaxFailures)
	a.mu.Unlock()
	if !again {
		a.trips.Inc()
		a.refresh()
	}
}

// refresh finds out whether the arm can take its share.
func (a *arm) refresh() {
	identity, version, why := a.look()
	a.mu.Lock()
	defer a.mu.Unlock()
	if identity != "" && a.serves != identity {
		a.serves = identity
		a.guard.reset()
	}
	if why == "" && identity == a.tripped {
		why = a.verdict
	} else if why == "" {
		a.tripped = "" // it has moved on
	}
	was := a.off
	a.off = why
	a.on.Store(why == "")
	if why == "" {
		a.share.Set(a.Weight.Ratio())
	} else {
		a.share.Set(0)
	}
	switch {
	case was == why:
	case why == "":
		a.log.Info("a version takes its share of the requests", "version", version, "percent", a.Weight.String())
	case why == promoted:
		a.log.Info("a version is the model's own now", "version", version)
	case was != "": // it was not on
		a.log.Info("a version cannot take its share yet; the model itself does", "reason", why)
	default:
		a.log.Warn("a version is switched off; the model itself takes its share", "reason", why)
	}
}

// look says which version the arm has, or why it can take no requests.
func (a *arm) look() (identity, version, why string) {
	s, err := a.Source.Acquire("")
	if err != nil {
		if e := model.AsError(err); e.Code == model.Unavailable {
			return "", "", e.Message
		}
		return "", "", err.Error()
	}
	defer release(s)
	if a.sameAs(s) {
		return s.Identity, s.Version, promoted
	}
	return s.Identity, s.Version, ""
}

func (a *arm) status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	st := Status{Reference: a.Reference, Weight: float64(a.Weight) / 100, Off: a.off}
	if a.off == "" {
		st.Share = st.Weight
	}
	return st
}
