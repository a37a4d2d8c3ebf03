package transaction

import (
	"context"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/checkpoint"
	"github.com/millrace/millrace/internal/wire"
)

// process is a worker's process: a pool that a record can end, with all that it
// works on. What it answers after its end reaches nobody.
type process struct {
	*fleet
	*member
	mu      sync.Mutex
	dead    bool
	running map[string]bool
	last    map[int32]time.Time
	queue   map[int32][]func()
	end     chan struct{} // closed at its end
	intake  *Intake
}

// fleet starts a process whenever one ends.
type fleet struct {
	*bench
	cfg     setting
	hangs   bool // a poison hangs instead of killing
	calm    bool // a poison kills when the group has no rebalance: the broker of the tests keeps who ends within one
	members []*member
	deaths  int

	mu       sync.Mutex
	runs     map[string]int // by value
	verdicts map[string]wire.Delivery
	together map[string]int // the most that was at work when a poison was run last
}

func newFleet(b *bench, cfg setting) *fleet {
	return &fleet{bench: b, cfg: cfg, runs: map[string]int{}, verdicts: map[string]wire.Delivery{}, together: map[string]int{}}
}

func (f *fleet) spawn() *process {
	p := &process{fleet: f, running: map[string]bool{}, last: map[int32]time.Time{}, queue: map[int32][]func(){}, end: make(chan struct{})}
	cfg := f.cfg
	cfg.ID = "w" + strconv.Itoa(len(f.members)) // as of a Deployment
	cfg.Own = true
	// A dead client goes on trying to join: seldom, so that it costs little.
	p.member = f.startWith(cfg, p, func(t *Intake) { p.intake = t }, kgo.RetryBackoffFn(func(failures int) time.Duration {
		return min(50*time.Millisecond<<min(failures, 10), 10*time.Second)
	}))
	f.members = append(f.members, p.member)
	return p
}

// kill ends a process as SIGKILL does.
func (p *process) kill() {
	p.mu.Lock()
	p.die()
	p.mu.Unlock()
	p.deaths++
}

// die is called under mu.
func (p *process) die() {
	if !p.dead {
		p.dead = true
		close(p.end)
		p.wire.Cut()
	}
}

func (p *process) dieCalmly() {
	for calm := 0; calm < 5; calm++ {
		g := p.cluster.GroupInfo("g")
		if g == nil || g.State != "Stable" || !p.intake.Ready() {
			calm = 0
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.die()
}

func (p *process) Submit(ctx context.Context, recs []*kgo.Record, done func(*kgo.Record, error)) {
	for _, r := range recs {
		p.mu.Lock()
		p.running[string(r.Value)] = true
		at := time.Now().Add(time.Duration(1+rand.IntN(20)) * time.Millisecond)
		if after := p.last[r.Partition].Add(10 * time.Microsecond); at.Before(after) {
			at = after
		}
		p.last[r.Partition] = at
		p.queue[r.Partition] = append(p.queue[r.Partition], func() { p.work(ctx, r, done) })
		p.mu.Unlock()
		time.AfterFunc(time.Until(at), func() { // who fires answers the first: a partition keeps its order
			p.mu.Lock()
			defer p.mu.Unlock()
			next := p.queue[r.Partition][0]
			p.queue[r.Partition] = p.queue[r.Partition][1:]
			next()
		})
	}
}

// work is called under mu.
func (p *process) work(ctx context.Context, r *kgo.Record, done func(*kgo.Record, error)) {
	v := string(r.Value)
	if p.dead || ctx.Err() != nil {
		return
	}
	a := &wire.Answer{Request: r, Status: "ok", ModelName: "m", ModelVersion: "1", ContentType: "text/plain", Value: r.Value}
	if d := wire.DeliveryOf(r); d.Code != "" {
		a.Status, a.Message = d.Code, d.Message
		p.fleet.mu.Lock()
		p.verdicts[v] = d
		p.fleet.mu.Unlock()
	} else {
		p.fleet.mu.Lock()
		p.runs[v]++
		p.together[v] = len(p.running)
		p.fleet.mu.Unlock()
		if strings.HasPrefix(v, "poison") {
			switch {
			case p.hangs:
			case p.calm:
				go p.dieCalmly()
			default:
				p.die()
			}
			return
		}
	}
	delete(p.running, v)
	p.intake.Publish(ctx, a, func(_ string, err error) { done(r, err) })
}

// serve runs processes one after the other until n records are answered.
func (f *fleet) serve(n int64, most int) *process {
	f.t.Helper()
	for range most {
		p := f.spawn()
		for f.committed() < n {
			select {
			case <-p.end:
			case err := <-p.ended:
				require.ErrorIs(f.t, err, ErrStalled)
				f.deaths++
				p.ended <- nil
			default:
				time.Sleep(100 * time.Millisecond)
				continue
			}
			break
		}
		if f.committed() == n {
			return p
		}
		if !f.hangs {
			p.kill()
		}
	}
	f.t.Fatal("not all is answered after that many processes", most)
	return nil
}

// bury joins what the dead left behind.
func (f *fleet) bury() {
	for _, m := range f.members {
		m.stop()
	}
	for _, m := range f.members {
		if err := <-m.ended; err != nil {
			require.ErrorIs(f.t, err, ErrStalled)
		}
	}
}

// send writes records to partitions in turn; poisoned says which end a process.
func (b *bench) send(partitions int32, n int, poisoned func(int) bool) {
	b.t.Helper()
	recs := make([]*kgo.Record, n)
	for i := range recs {
		v := strconv.Itoa(i)
		if poisoned(i) {
			v = "poison " + v
		}
		recs[i] = &kgo.Record{Topic: in, Partition: int32(i) % partitions, Value: []byte(v)}
	}
	require.NoError(b.t, b.client.ProduceSync(b.ctx, recs...).FirstErr())
}

// checkpoint reads what the group has committed for a partition.
func (b *bench) checkpoint(id int32) checkpoint.Checkpoint {
	b.t.Helper()
	resp, err := b.admin.FetchOffsets(b.ctx, "g")
	require.NoError(b.t, err)
	o, ok := resp.Lookup(in, id)
	require.True(b.t, ok)
	cp, _ := checkpoint.Decode(o.Metadata, o.At, o.LeaderEpoch)
	return cp
}
