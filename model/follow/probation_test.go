package follow_test

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/follow"
)

// pool is a follower of one reference, and what it was seen to do.
type pool struct {
	*follow.Follower
	t         *testing.T
	registry  *registry
	rollbacks []string
}

// inPool runs a test against a pool that serves version 1.
func inPool(t *testing.T, cfg follow.Config, test func(*pool)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &pool{t: t, registry: &registry{}}
		p.registry.set("1", "id1", nil)
		cfg.Poll, cfg.RetryMin, cfg.RetryMax, cfg.LoadTimeout = 10*time.Second, time.Second, time.Minute, time.Hour
		cfg.RollbackWindow, cfg.RollbackMin = 5*time.Minute, 20
		if cfg.RollbackFailures == 0 {
			cfg.RollbackFailures = 0.1
		}
		f, err := follow.New(cfg, follow.Deps{
			Targets: []follow.Target{{Reference: "models:/fraud@champion", Resolve: p.registry.resolve, Load: p.registry.load}},
			Observer: follow.Observer{RolledBack: func(now, bad *model.Snapshot, reason string) {
				p.rollbacks = append(p.rollbacks, bad.Version+" to "+now.Version+" for "+reason)
			}},
		})
		require.NoError(t, err)
		p.Follower = f
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		p.promote("1")
		test(p)
		cancel()
		require.NoError(t, <-ended)
		for _, m := range p.registry.models {
			require.True(t, m.closed.Load(), "a model was left open")
		}
	})
}

// promote makes the reference name a version and waits for its poll.
func (p *pool) promote(version string) {
	p.t.Helper()
	p.registry.set(version, "id"+version, nil)
	time.Sleep(15 * time.Second)
	synctest.Wait()
}

// calls notes n calls of what serves, of size requests each.
func (p *pool) calls(n, size int, ok bool, took time.Duration) {
	p.t.Helper()
	s, err := p.Acquire("")
	require.NoError(p.t, err)
	for range n {
		p.Observe(s, ok, took, size)
	}
	require.NoError(p.t, s.Release())
	time.Sleep(time.Second)
	synctest.Wait()
}

func (p *pool) serves(want string) {
	p.t.Helper()
	require.Equal(p.t, want, version(p.t, p.Follower, ""))
	require.Equal(p.t, want, p.Status()[0].Version)
}

func (p *pool) steps() []string {
	var all []string
	for _, s := range p.Status()[0].History {
		all = append(all, s.Step+" "+s.Version)
	}
	return all
}

func TestAVersionThatFailsIsRolledBack(t *testing.T) {
	inPool(t, follow.Config{}, func(p *pool) {
		p.calls(100, 1, true, time.Millisecond)
		p.promote("2")
		p.serves("2")
		probation := p.Status()[0].Probation
		require.Equal(t, "1", probation.Previous)
		p.calls(1, 19, false, time.Millisecond)
		p.serves("2") // too few to say
		p.calls(1, 1, false, time.Millisecond)
		p.serves("1")
		require.Equal(t, []string{"2 to 1 for failures"}, p.rollbacks)
		require.True(t, p.registry.models[1].closed.Load())

		// It is left alone as long as the reference names it.
		time.Sleep(time.Hour)
		synctest.Wait()
		p.serves("1")
		loads, _, _ := p.registry.counts()
		require.Equal(t, 2, loads)
		st := p.Status()[0]
		require.Equal(t, "2", st.LeftAlone.Version)
		require.Equal(t, follow.ReasonFailures, st.LeftAlone.Reason)
		require.Contains(t, st.LastError, "version 2 is left alone: it was rolled back: 100.0 % of its 20 requests failed")
		require.Nil(t, st.Probation)

		// Another version is taken, and then this one too.
		p.promote("3")
		p.serves("3")
		require.Nil(t, p.Status()[0].LeftAlone)
		p.promote("2")
		p.serves("2")
		require.Equal(t, []string{
			"resolved 1", "warmed 1", "swapped 1",
			"resolved 2", "warmed 2", "swapped 2", "swapped 1", "rolled_back 2",
			"resolved 3", "warmed 3", "swapped 3",
			"resolved 2", "warmed 2", "swapped 2",
		}, p.steps())
	})
}

func TestWhatIsNoReasonToGoBack(t *testing.T) {
	for name, c := range map[string]struct {
		cfg    follow.Config
		before func(*pool)
		after  func(*pool)
	}{
		"the version before failed as often": {
			before: func(p *pool) { p.calls(30, 1, false, time.Millisecond); p.calls(70, 1, true, time.Millisecond) },
			after:  func(p *pool) { p.calls(70, 1, true, time.Millisecond); p.calls(35, 1, false, time.Millisecond) },
		},
		"few failures": {
			after: func(p *pool) { p.calls(92, 1, true, time.Millisecond); p.calls(8, 1, false, time.Millisecond) },
		},
		"larger batches": {
			cfg:    follow.Config{RollbackSlower: 2},
			before: func(p *pool) { p.calls(100, 1, true, time.Millisecond); p.calls(100, 64, true, 100*time.Millisecond) },
			after:  func(p *pool) { p.calls(100, 64, true, 110*time.Millisecond) },
		},
		"sizes that the version before never had": {
			cfg:    follow.Config{RollbackSlower: 2},
			before: func(p *pool) { p.calls(100, 1, true, time.Millisecond) },
			after:  func(p *pool) { p.calls(100, 64, true, time.Second) },
		},
		"some microseconds": {
			cfg:    follow.Config{RollbackSlower: 2},
			before: func(p *pool) { p.calls(100, 1, true, 10*time.Microsecond) },
			after:  func(p *pool) { p.calls(100, 1, true, 5*time.Millisecond) },
		},
		"a process that stood still": {
			cfg:    follow.Config{RollbackSlower: 2, RollbackP95: 20 * time.Millisecond},
			before: func(p *pool) { p.calls(100, 1, true, time.Millisecond) },
			after: func(p *pool) {
				p.calls(16, 1, true, time.Millisecond)
				p.calls(8, 1, true, 5*time.Second)
				for range 10 {
					p.calls(1, 1, true, time.Millisecond)
				}
			},
		},
		"some slow calls": {
			cfg:    follow.Config{RollbackSlower: 2, RollbackP95: 20 * time.Millisecond},
			before: func(p *pool) { p.calls(100, 1, true, time.Millisecond) },
			after:  func(p *pool) { p.calls(96, 1, true, time.Millisecond); p.calls(4, 1, true, time.Second) },
		},
		"after the window": {
			after: func(p *pool) {
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				require.True(p.t, p.registry.models[0].closed.Load(), "the version before is let go")
				p.calls(100, 1, false, time.Millisecond)
				require.Equal(p.t, "kept 2", p.steps()[len(p.steps())-1])
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inPool(t, c.cfg, func(p *pool) {
				if c.before != nil {
					c.before(p)
				}
				p.promote("2")
				c.after(p)
				p.serves("2")
				require.Empty(t, p.rollbacks)
			})
		})
	}
}

func TestASlowVersionIsRolledBack(t *testing.T) {
	for name, cfg := range map[string]follow.Config{
		"than the one before": {RollbackSlower: 10},
		"than it may be":      {RollbackP95: 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			inPool(t, cfg, func(p *pool) {
				p.calls(100, 8, true, 10*time.Millisecond)
				time.Sleep(6 * time.Minute) // older than a window, younger than two
				p.promote("2")
				p.calls(25, 8, true, 120*time.Millisecond)
				p.serves("2") // all at once is what a process has that stood still
				for range 4 {
					p.calls(1, 8, true, 120*time.Millisecond)
				}
				p.serves("1")
				require.Equal(t, []string{"2 to 1 for latency"}, p.rollbacks)
			})
		})
	}
}

func TestTheReferenceGoesBack(t *testing.T) {
	inPool(t, follow.Config{}, func(p *pool) {
		p.promote("2")
		p.promote("1")
		p.serves("1")
		loads, swaps, _ := p.registry.counts()
		require.Equal(t, 2, loads, "it was still warm")
		require.Zero(t, swaps)
		require.True(t, p.registry.models[1].closed.Load())
		require.Nil(t, p.Status()[0].Probation)
		p.promote("2")
		p.serves("2")
	})
}

// Of three versions within one window the one that had proved itself is what is
// gone back to, also while the third is being loaded.
func TestThreeVersionsInAWindow(t *testing.T) {
	inPool(t, follow.Config{}, func(p *pool) {
		p.promote("2")
		p.promote("3")
		p.serves("3")
		require.True(t, p.registry.models[1].closed.Load())
		require.False(t, p.registry.models[0].closed.Load())
		hold := make(chan struct{})
		p.registry.mu.Lock()
		p.registry.hold = hold
		p.registry.mu.Unlock()
		p.promote("4")
		p.calls(1, 50, false, time.Millisecond)
		p.serves("1")
		require.Equal(t, []string{"3 to 1 for failures"}, p.rollbacks)
		close(hold)
		time.Sleep(time.Second)
		p.serves("4")
		require.Equal(t, "1", p.Status()[0].Probation.Previous)
	})
}

func TestQuarantineEnds(t *testing.T) {
	inPool(t, follow.Config{Quarantine: time.Hour}, func(p *pool) {
		p.promote("2")
		p.calls(1, 50, false, time.Millisecond)
		p.serves("1")
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		p.serves("1")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		p.serves("2")
	})
}

func TestHistoryIsBounded(t *testing.T) {
	inPool(t, follow.Config{}, func(p *pool) {
		for i := range 30 {
			p.promote(strconv.Itoa(100 + i))
		}
		require.Len(t, p.steps(), 32)
		require.Equal(t, "swapped 129", p.steps()[31])
	})
}
