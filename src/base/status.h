// Errors of the outside world: bad input, missing files, full disks, unsupported requests.
//
// A message is one clear sentence: what went wrong, where, and what to do. Our own bugs are not a
// Status; they are COLDPRESS_CHECK (base/check.h). Numerical trouble is neither: it is an Outcome
// inside a result.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "base/check.h"

namespace coldpress {

enum class StatusCode {
  kOk,
  kInvalidArgument,  // the user asked for something impossible
  kNotFound,         // a file, tensor or name that does not exist
  kCorrupt,          // bytes that are not what their format promises
  kUnsupported,      // well formed, but not something this program can do
  kIo,               // the operating system refused
};

class [[nodiscard]] Status {
 public:
  Status() = default;  // success
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

  // The same error with `where` in front, for callers that know more about the place.
  Status with_context(const std::string& where) const {
    return ok() ? *this : Status(code_, where + ": " + message_);
  }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

inline Status invalid_argument(std::string m) {
  return {StatusCode::kInvalidArgument, std::move(m)};
}
inline Status not_found(std::string m) { return {StatusCode::kNotFound, std::move(m)}; }
inline Status corrupt(std::string m) { return {StatusCode::kCorrupt, std::move(m)}; }
inline Status unsupported(std::string m) { return {StatusCode::kUnsupported, std::move(m)}; }
inline Status io_error(std::string m) { return {StatusCode::kIo, std::move(m)}; }

// A value or the Status that explains why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT: implicit on purpose
  Result(Status status) : status_(std::move(status)) {  // NOLINT: implicit on purpose
    COLDPRESS_CHECK(!status_.ok());
  }

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }

  T& value() & {
    COLDPRESS_CHECK(ok());
    return *value_;
  }
  const T& value() const& {
    COLDPRESS_CHECK(ok());
    return *value_;
  }
  T&& value() && {
    COLDPRESS_CHECK(ok());
    return std::move(*value_);
  }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T operator*() && {
    return std::move(*this).value();
  }  // by value: a reference would dangle in loops

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace coldpress

#define COLDPRESS_CONCAT_INNER(a, b) a##b
#define COLDPRESS_CONCAT(a, b) COLDPRESS_CONCAT_INNER(a, b)

// Leaves the function with the error, if `expr` is one.
#define COLDPRESS_RETURN_IF_ERROR(expr)                    \
  do {                                                     \
    ::coldpress::Status coldpress_status_ = (expr);        \
    if (!coldpress_status_.ok()) return coldpress_status_; \
  } while (false)

// COLDPRESS_ASSIGN_OR_RETURN(auto file, open(path));
#define COLDPRESS_ASSIGN_OR_RETURN(lhs, expr) \
  COLDPRESS_ASSIGN_OR_RETURN_INNER(COLDPRESS_CONCAT(coldpress_result_, __LINE__), lhs, expr)
#define COLDPRESS_ASSIGN_OR_RETURN_INNER(tmp, lhs, expr) \
  auto tmp = (expr);                                     \
  if (!tmp.ok()) return tmp.status();                    \
  lhs = std::move(tmp).value()
