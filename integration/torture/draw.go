package torture

import (
	"math/rand/v2"
	"slices"
	"time"
)

// planner knows what runs and what is under a fault, by the time that faults
// are thought to take.
type planner struct {
	Shape
	r       *rand.Rand
	now     time.Duration
	busy    map[string]time.Duration // until when
	frozen  []time.Duration          // until when, of workers that are stopped
	running []bool                   // by slot, once all faults so far are over
	cards   []Kind                   // what is left of the rounds
}

// next draws the next fault, and lets time pass while none can be.
func (p *planner) next(n int) Fault {
	pause := p.between(300*time.Millisecond, 1700*time.Millisecond)
	p.now += pause
	for {
		for i, kind := range p.cards {
			f, ok := p.draw(kind)
			if !ok {
				continue
			}
			p.cards = slices.Delete(p.cards, i, i+1)
			f.N, f.Pause = n, pause
			for _, need := range f.Needs() {
				p.busy[need] = p.now + f.Hold + settle(kind)
			}
			return f
		}
		if len(p.cards) < 8 { // what is left may never fit, as joins when all places are taken
			p.shuffle()
			continue
		}
		p.now += 500 * time.Millisecond
		pause += 500 * time.Millisecond
	}
}

// settle is how long what a fault needs is thought to be taken beyond its hold.
func settle(k Kind) time.Duration {
	switch k { //nolint:exhaustive // the others have a default
	case BrokerKill:
		return 10 * time.Second // its start, and until its replicas are in sync
	case Hang:
		return 20 * time.Second // until the watchdog has ended the worker
	case Kill, Term, Add, Remove, Storm:
		return 3 * time.Second
	default:
		return time.Second
	}
}

// shuffle adds a round of cards.
func (p *planner) shuffle() {
	at := len(p.cards)
	for _, d := range deck {
		for range d.times {
			p.cards = append(p.cards, d.kind)
		}
	}
	round := p.cards[at:]
	p.r.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
}

// draw makes a fault of a kind. ok is false when it cannot be now.
func (p *planner) draw(kind Kind) (f Fault, ok bool) {
	f = Fault{Kind: kind, Worker: -1, Broker: -1, Partition: -1}
	switch kind {
	case Kill, Term:
		f.Hold = p.between(200*time.Millisecond, 1500*time.Millisecond) // away for so long
		if f.Worker, ok = p.worker(true); ok && p.r.IntN(4) == 0 {
			f.Version = 1 + p.r.IntN(p.Versions)
		}
	case Freeze, Pause:
		f.Hold = p.between(500*time.Millisecond, p.Session/2)
		if kind == Freeze {
			f.Hold = p.Session + p.between(time.Second, 3*time.Second)
		}
		if f.Worker, ok = p.worker(true); ok && kind == Freeze {
			ok = p.freeze(f.Hold)
		}
	case Add:
		if f.Worker, ok = p.worker(false); ok {
			p.running[f.Worker] = true
		}
	case Remove:
		if f.Worker, ok = p.worker(true); ok && p.count() > p.Least {
			p.running[f.Worker] = false
		} else {
			ok = false
		}
	case Storm:
		f.Steps = p.storm()
		ok = len(f.Steps) >= 3
	case BrokerKill:
		f.Broker, f.Hold, ok = p.r.IntN(p.Brokers), p.between(200*time.Millisecond, 3*time.Second), p.free("brokers")
	case BrokerPause:
		f.Broker, f.Hold, ok = p.r.IntN(p.Brokers), p.between(500*time.Millisecond, 5*time.Second), p.free("brokers")
	case Leader:
		f.Topic, f.Partition, f.Count = p.partition()
		ok = true
	case Cut, Slow, Stall:
		ok = p.network(&f)
	case Registry:
		f.Hold, ok = p.between(2*time.Second, 6*time.Second), p.free(string(kind))
	case DiskFull, Hang:
		f.Hold = p.between(2*time.Second, 4*time.Second)
		f.Version = 1 + p.r.IntN(p.Versions)
		if f.Worker, ok = p.worker(true); ok {
			ok = p.free(string(kind))
		}
	}
	return f, ok
}

// network draws which connections suffer: those of one worker, those to one
// broker, or those between the two.
func (p *planner) network(f *Fault) bool {
	if p.r.IntN(3) > 0 {
		f.Broker = p.r.IntN(p.Brokers)
	}
	if f.Broker < 0 || p.r.IntN(2) > 0 {
		f.Worker, _ = p.worker(true)
	}
	switch f.Kind { //nolint:exhaustive // the others are not drawn here
	case Slow:
		f.Delay, f.Hold = p.between(20*time.Millisecond, 300*time.Millisecond), p.between(time.Second, 4*time.Second)
	case Stall:
		f.Hold = p.between(time.Second, p.Session+2*time.Second)
		f.Direction = []string{"up", "down", "both"}[p.r.IntN(3)]
	}
	if f.Worker < 0 && f.Broker < 0 {
		return false
	}
	return !slices.ContainsFunc(f.Needs(), func(need string) bool { return !p.free(need) })
}

// partition draws where leaders move.
func (p *planner) partition() (topic string, partition, count int) {
	var all []string
	for t := range p.Topics {
		all = append(all, t)
	}
	slices.Sort(all) // a map has no order to replay
	topic = all[p.r.IntN(len(all))]
	n := p.Topics[topic]
	return topic, p.r.IntN(n), 1 + p.r.IntN(max(1, n/2))
}

// storm draws joins and leaves, and leaves the pool within its bounds.
func (p *planner) storm() []Step {
	running := slices.Clone(p.running)
	var steps []Step
	for range 3 + p.r.IntN(4) {
		join := p.r.IntN(2) == 0
		slot, ok := p.worker(!join)
		if !ok || slices.ContainsFunc(steps, func(s Step) bool { return s.Worker == slot }) || !join && p.count() <= p.Least {
			continue
		}
		p.running[slot] = join
		steps = append(steps, Step{Worker: slot, Join: join, Pause: p.between(100*time.Millisecond, 700*time.Millisecond)})
	}
	if len(steps) < 3 {
		p.running = running
	}
	return steps
}

// worker draws a slot that runs, or one that does not, and that no fault has.
func (p *planner) worker(running bool) (int, bool) {
	var slots []int
	for i, r := range p.running {
		if r == running && p.free(worker(i)) {
			slots = append(slots, i)
		}
	}
	if len(slots) == 0 {
		return -1, false
	}
	return slots[p.r.IntN(len(slots))], true
}

// freeze bounds how many workers are stopped past their session at once.
func (p *planner) freeze(hold time.Duration) bool {
	p.frozen = slices.DeleteFunc(p.frozen, func(until time.Duration) bool { return until < p.now })
	if len(p.frozen) == 2 {
		return false
	}
	p.frozen = append(p.frozen, p.now+hold)
	return true
}

func (p *planner) free(what string) bool { return p.busy[what] <= p.now }

func (p *planner) count() (n int) {
	for _, r := range p.running {
		if r {
			n++
		}
	}
	return n
}

func (p *planner) between(least, most time.Duration) time.Duration {
	return (least + time.Duration(p.r.Int64N(int64(most-least)))).Round(10 * time.Millisecond)
}
