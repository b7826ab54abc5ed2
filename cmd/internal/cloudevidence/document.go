package cloudevidence

import (
	"encoding/json"
	"reflect"
	"time"

	"github.com/aws/smithy-go/middleware"
)

// document is an answer of the SDK as JSON, with the names that AWS gives its fields, as the AWS CLI prints it: without what AWS
// did not tell.
func document(v any) ([]byte, error) {
	b, err := json.MarshalIndent(plain(reflect.ValueOf(v)), "", "  ")
	return append(b, '\n'), err
}

var (
	timeType     = reflect.TypeFor[time.Time]()
	metadataType = reflect.TypeFor[middleware.Metadata]()
)

// plain is a value as maps, slices and scalars; nil: it was not told. A pointer to an empty string was told; an
// enumeration has no pointer, and is empty where it was not.
func plain(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		if e := v.Elem(); e.Kind() == reflect.String {
			return e.String()
		}
		return plain(v.Elem())
	case reflect.Struct:
		switch v.Type() {
		case timeType:
			return v.Interface().(time.Time).UTC().Format(time.RFC3339Nano)
		case metadataType:
			return nil
		}
		m := map[string]any{}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				if x := plain(v.Field(i)); x != nil {
					m[f.Name] = x
				}
			}
		}
		return m
	case reflect.Slice:
		if v.IsNil() {
			return nil
		}
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plain(v.Index(i))
		}
		return list
	case reflect.Map:
		if v.IsNil() {
			return nil
		}
		m := map[string]any{}
		for it := v.MapRange(); it.Next(); {
			m[it.Key().String()] = plain(it.Value())
		}
		return m
	case reflect.String:
		if v.Len() == 0 {
			return nil
		}
		return v.String()
	}
	return v.Interface()
}
