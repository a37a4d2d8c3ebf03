package otlptest

import (
	"strconv"

	common "go.opentelemetry.io/proto/otlp/common/v1"
)

// texts are attributes with their values as texts.
func texts(list []*common.KeyValue) map[string]string {
	all := make(map[string]string, len(list))
	for _, kv := range list {
		v := kv.GetValue()
		if _, ok := v.GetValue().(*common.AnyValue_IntValue); ok {
			all[kv.GetKey()] = strconv.FormatInt(v.GetIntValue(), 10)
			continue
		}
		all[kv.GetKey()] = v.GetStringValue()
	}
	return all
}
