package consumer

import (
	"context"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

// process is a worker's process in virtual time: a pool that a record can end,
// with all that it works on. What it answers after its end reaches nobody.
type process struct {
	*fleet
	mu      sync.Mutex
	dead    bool
	running map[string]bool
	end     chan struct{} // closed at its end
}

// fleet starts a process whenever one ends.
type fleet struct {
	*bench
	cfg     Config
	hangs   bool // a poison hangs instead of killing
	members []*member
	deaths  int

	mu       sync.Mutex
	runs     map[string]int // by value
	verdicts map[string]wire.Delivery
	together map[string]int // the most that was at work when a poison killed
}

func newFleet(b *bench, cfg Config) *fleet {
	return &fleet{bench: b, cfg: cfg, runs: map[string]int{}, verdicts: map[string]wire.Delivery{}, together: map[string]int{}}
}

func (f *fleet) spawn() (*process, *member) {
	p := &process{fleet: f, running: map[string]bool{}, end: make(chan struct{})}
	// A dead client goes on trying to join: seldom, so that it costs little.
	m := f.start(f.cfg, p, kgo.RetryBackoffFn(func(failures int) time.Duration {
		return min(50*time.Millisecond<<min(failures, 10), 10*time.Second)
	}))
	f.members = append(f.members, m)
	return p, m
}

// kill ends a process as SIGKILL does.
func (p *process) kill(m *member) {
	p.mu.Lock()
	if !p.dead {
		p.dead = true
		close(p.end)
	}
	p.mu.Unlock()
	m.wire.Cut()
	p.deaths++
}

func (p *process) Submit(ctx context.Context, recs []*kgo.Record, done func(*kgo.Record, error)) {
	for _, r := range recs {
		if d := wire.DeliveryOf(r); d.Code != "" {
			p.fleet.mu.Lock()
			p.verdicts[string(r.Value)] = d
			p.fleet.mu.Unlock()
			p.publish(ctx, r, done)
			continue
		}
		p.mu.Lock()
		p.running[string(r.Value)] = true
		p.mu.Unlock()
		time.AfterFunc(time.Duration(1+rand.IntN(20))*time.Millisecond, func() { p.work(ctx, r, done) })
	}
}

func (p *process) work(ctx context.Context, r *kgo.Record, done func(*kgo.Record, error)) {
	p.mu.Lock()
	if p.dead {
		p.mu.Unlock()
		return
	}
	v := string(r.Value)
	p.fleet.mu.Lock()
	p.runs[v]++
	if strings.HasPrefix(v, "poison") {
		p.together[v] = len(p.running)
	}
	p.fleet.mu.Unlock()
	if strings.HasPrefix(v, "poison") {
		if !p.hangs {
			p.dead = true
			close(p.end)
		}
		p.mu.Unlock()
		return
	}
	delete(p.running, v)
	p.mu.Unlock()
	p.publish(ctx, r, done)
}

func (p *process) publish(ctx context.Context, r *kgo.Record, done func(*kgo.Record, error)) {
	p.client.Produce(context.WithoutCancel(ctx), &kgo.Record{Topic: out, Value: r.Value}, func(_ *kgo.Record, err error) {
		p.mu.Lock()
		dead := p.dead
		p.mu.Unlock()
		if !dead {
			done(r, err)
		}
	})
}

// all says that the group has committed the ends of all partitions.
func (b *bench) all() bool {
	ends, err := b.admin.ListEndOffsets(b.ctx, in)
	require.NoError(b.t, err)
	at, whole := b.committed(), true
	ends.Each(func(o kadm.ListedOffset) { whole = whole && max(at[o.Partition], 0) == o.Offset })
	return whole
}

// serve runs processes one after the other until all is answered.
func (f *fleet) serve(most int) {
	f.t.Helper()
	for range most {
		p, m := f.spawn()
		for !f.all() {
			select {
			case <-p.end:
			case err := <-m.ended:
				require.ErrorIs(f.t, err, ErrStalled)
				f.deaths++
				m.ended <- nil
			default:
				time.Sleep(100 * time.Millisecond)
				continue
			}
			break
		}
		if f.all() {
			return
		}
		if f.hangs {
			continue
		}
		p.kill(m)
	}
	f.t.Fatal("not all is answered after that many processes", most)
}

// bury joins what the dead left behind.
func (f *fleet) bury() {
	for _, m := range f.members {
		m.stop()
		if err := <-m.ended; err != nil {
			require.ErrorIs(f.t, err, ErrStalled)
		}
	}
}

// send writes records to partitions in turn; poisoned says which kill.
func (b *bench) send(partitions int32, n int, poisoned func(int) bool) {
	b.t.Helper()
	cl, err := kgo.NewClient(append(b.opts(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	require.NoError(b.t, err)
	defer cl.Close()
	recs := make([]*kgo.Record, n)
	for i := range recs {
		v := strconv.Itoa(i)
		if poisoned(i) {
			v = "poison " + v
		}
		recs[i] = &kgo.Record{Topic: in, Partition: int32(i) % partitions, Value: []byte(v)}
	}
	require.NoError(b.t, cl.ProduceSync(b.ctx, recs...).FirstErr())
}
