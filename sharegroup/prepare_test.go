package sharegroup

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/millrace/millrace/metrics"
)

// What a start needs and does not find is said, with what to do.
func TestStartRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		opts    []kfake.Opt
		before  func(*bench)
		cfg     func(*Config)
		want    error
		message []string
	}{
		"an old broker": {
			opts: []kfake.Opt{kfake.MaxVersions(kversion.V3_9_0())},
			want: ErrNoShareGroups, message: []string{"broker 0", "ShareGroupHeartbeat", "Apache Kafka 4.2 or later", "share.version"},
		},
		"share groups in preview": {
			opts: []kfake.Opt{kfake.MaxVersions(kversion.V4_1_0())},
			want: ErrNoShareGroups, message: []string{"ShareFetch in version 2", "Apache Kafka 4.2 or later"},
		},
		"the feature is off": {
			before: func(b *bench) {
				off := kmsg.NewPtrUpdateFeaturesRequest()
				off.TimeoutMillis = 1000
				f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
				f.Feature, f.MaxVersionLevel, f.AllowDowngrade, f.UpgradeType = "share.version", 0, true, 2
				off.FeatureUpdates = append(off.FeatureUpdates, f)
				resp, err := off.RequestWith(b.ctx, b.client)
				require.NoError(b.t, err)
				require.NoError(b.t, kerr.ErrorForCode(resp.ErrorCode))
			},
			want: ErrNoShareGroups, message: []string{"share.version is 0", "kafka-features.sh"},
		},
		"a consumer group's name": {
			before: func(b *bench) {
				cl, err := kgo.NewClient(append(b.opts(), kgo.ConsumerGroup("g"), kgo.ConsumeTopics(in))...)
				require.NoError(b.t, err)
				b.fill(0, 1)
				cl.PollFetches(b.ctx)
				require.NoError(b.t, cl.CommitUncommittedOffsets(b.ctx))
				cl.Close()
			},
			want: ErrOtherGroup, message: []string{"g is a consumer group", "MILLRACE_GROUP", "kafka-consumer-groups.sh"},
		},
		"no right to set up": {
			before: func(b *bench) {
				b.answerSettings(kerr.GroupAuthorizationFailed)
			},
			want: ErrGroupSettings, message: []string{
				"kafka-configs.sh --bootstrap-server localhost:9092 --alter --entity-type groups --entity-name g --add-config " +
					"share.auto.offset.reset=earliest,share.isolation.level=read_committed,share.record.lock.duration.ms=30000,share.session.timeout.ms=45000",
			},
		},
		"the broker's bounds": {
			before: func(b *bench) {
				b.answerSettings(kerr.InvalidConfig)
			},
			want: ErrGroupSettings, message: []string{"MILLRACE_QUEUE_LOCK", "INVALID_CONFIG"},
		},
		"more attempts than deliveries": {
			cfg:  func(c *Config) { c.Attempts = 10 },
			want: ErrGroupSettings, message: []string{"tried in 10 deliveries", "group.share.delivery.count.limit to 12 or more", "MILLRACE_QUEUE_ATTEMPTS"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, 1, func(b *bench) {
				if c.before != nil {
					c.before(b)
				}
				cfg := config()
				if c.cfg != nil {
					c.cfg(&cfg)
				}
				w := b.start(cfg, &pool{})
				err := <-w.ended
				require.ErrorIs(t, err, c.want)
				for _, m := range c.message {
					require.ErrorContains(t, err, m)
				}
				require.False(t, w.Ready())
				require.True(t, w.Healthy())
			}, c.opts...)
		})
	}
}

// The group is set up by the first worker; one that finds it so needs no right
// to alter it.
func TestGroupIsSetUp(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 1)
		first := b.start(config(), &pool{})
		b.until("answered", func() bool { return len(first.pool.published.all()) == 1 })
		have, err := first.groupSettings(b.ctx)
		require.NoError(t, err)
		for name, value := range map[string]string{
			settingReset: "earliest", settingIsolation: "read_committed", settingLock: "30000", settingSession: "45000", settingLimit: "10",
		} {
			require.Equal(t, value, have[name], name)
		}
		require.Equal(t, int32(4), first.attempts.Load())
		asked := b.answerSettings(kerr.GroupAuthorizationFailed)
		cfg := config()
		cfg.Attempts = 0
		second := b.start(cfg, &pool{})
		b.until("ready", second.Ready)
		require.Zero(t, asked.Load())
		require.Equal(t, int32(defaultAttempts), second.attempts.Load())
		first.halt(t)
		second.halt(t)
	})
}

// answerSettings has the broker refuse to set a group up, and counts how often.
func (b *bench) answerSettings(err *kerr.Error) *atomic.Int64 {
	var asked atomic.Int64
	b.cluster.ControlKey(int16(kmsg.IncrementalAlterConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		asked.Add(1)
		resp, _ := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
		r := kmsg.NewIncrementalAlterConfigsResponseResource()
		r.ResourceType, r.ResourceName, r.ErrorCode = kmsg.ConfigResourceTypeGroupConfig, "g", err.Code
		resp.Resources = append(resp.Resources, r)
		return resp, nil, true
	})
	return &asked
}

// Who may neither read nor needs to alter the limit goes by the broker's.
func TestTheBrokersLimitHolds(t *testing.T) {
	for limit, want := range map[string]int32{"2": 1, "3": 2, "5": 4, "10": 6} {
		virtual(t, 1, func(b *bench) {
			cfg := config()
			cfg.Attempts = 0
			q, err := New(cfg, membership(), Deps{Topics: []string{in}, Log: b.quiet(), Metrics: metrics.NewConsumer(prometheus.NewRegistry()), Client: b.opts()})
			require.NoError(t, err)
			q.client, q.admin = b.client, b.admin
			require.NoError(t, q.bound(q.limit(b.ctx, nil)))
			require.Equal(t, want, q.attempts.Load())
		}, kfake.BrokerConfigs(map[string]string{brokerLimit: limit}))
	}
}

// A coordinator that is away at the start is waited for, and a stop meanwhile is
// no error.
func TestWaitsForTheCoordinator(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 1)
		asked := b.answerSettings(kerr.CoordinatorNotAvailable)
		w := b.start(config(), &pool{})
		b.until("asked again", func() bool { return asked.Load() > 5 })
		require.Empty(t, w.pool.ran())
		require.Equal(t, 1, strings.Count(w.log.String(), "waiting for the share group's coordinator"))
		w.halt(t)
	})
	virtual(t, 1, func(b *bench) {
		b.fill(0, 1)
		h := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListGroups}, Err: kerr.CoordinatorLoadInProgress, Count: 30})
		w := b.start(config(), &pool{})
		b.until("answered", func() bool { return b.lag() == 0 })
		require.Equal(t, 30, h.Hits())
		w.halt(t)
	})
}

func TestConfig(t *testing.T) {
	require.NoError(t, config().Validate())
	err := Config{Attempts: 1}.Validate()
	for _, name := range []string{"QUEUE_LANES", "QUEUE_RECORDS", "QUEUE_LOCK", "QUEUE_ATTEMPTS"} {
		require.ErrorContains(t, err, "MILLRACE_"+name+":")
	}
	_, err = New(Config{}, membership(), Deps{})
	require.Error(t, err)
}
