#include "io/json.h"

#include <fmt/format.h>

#include <new>
#include <unordered_set>
#include <utility>
#include <vector>

#include "io/file.h"
#include "io/show_name.h"

namespace coldpress {
namespace {

constexpr std::size_t kDeepest = 200;

// Builds the document. nlohmann's own builder looks every key of an ordered object up linearly,
// which takes minutes on a tokenizer's vocabulary; this one collects the members first and is
// linear.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return add(Json(nullptr)); }
  bool boolean(bool v) override { return add(Json(v)); }
  bool number_integer(number_integer_t v) override { return add(Json(v)); }
  bool number_unsigned(number_unsigned_t v) override { return add(Json(v)); }
  bool number_float(number_float_t v, const string_t& /*text*/) override { return add(Json(v)); }
  bool string(string_t& v) override { return add(Json(std::move(v))); }
  bool binary(binary_t& /*v*/) override { return false; }  // JSON text has none

  bool start_object(std::size_t /*size*/) override { return open(true); }
  bool start_array(std::size_t /*size*/) override { return open(false); }
  bool key(string_t& v) override {
    stack_.back().keys.push_back(std::move(v));
    return true;
  }
  bool end_array() override { return add(pop_array()); }
  bool end_object() override {
    Frame frame = std::move(stack_.back());
    stack_.pop_back();
    std::unordered_set<std::string_view> seen;
    for (const std::string& k : frame.keys) {
      if (!seen.insert(k).second) {
        problem_ = fmt::format("the key {} appears twice in one object", show_name(k));
        return false;
      }
    }
    Json object = Json::object();
    // The members' own container: ordered_map's insertions would look each key up again.
    using Members = Json::object_t::Container;
    auto& members = static_cast<Members&>(object.get_ref<Json::object_t&>());
    members.reserve(frame.keys.size());
    for (std::size_t i = 0; i < frame.keys.size(); ++i) {
      members.emplace_back(std::move(frame.keys[i]), std::move(frame.values[i]));
    }
    return add(std::move(object));
  }

  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const nlohmann::json::exception& /*error*/) override {
    problem_ = fmt::format("not valid JSON near byte {}", position);
    return false;
  }

  const std::string& problem() const { return problem_; }
  Json take() { return std::move(root_); }

 private:
  struct Frame {
    bool is_object = false;
    std::vector<std::string> keys;  // objects
    std::vector<Json> values;
  };

  bool open(bool is_object) {
    if (stack_.size() == kDeepest) {
      problem_ = fmt::format("nested deeper than {} levels", kDeepest);
      return false;
    }
    stack_.push_back({is_object, {}, {}});
    return true;
  }

  Json pop_array() {
    Json array = Json::array();
    array.get_ref<Json::array_t&>() = std::move(stack_.back().values);
    stack_.pop_back();
    return array;
  }

  bool add(Json value) {
    if (stack_.empty()) {
      root_ = std::move(value);
    } else {
      stack_.back().values.push_back(std::move(value));
    }
    return true;
  }

  std::vector<Frame> stack_;
  Json root_;
  std::string problem_;
};

}  // namespace

Result<Json> parse_json(std::string_view text, const std::string& where) {
  Builder builder;
  try {
    if (!Json::sax_parse(text.begin(), text.end(), &builder)) {
      return corrupt(where + ": " +
                     (builder.problem().empty() ? "not valid JSON" : builder.problem()));
    }
    return builder.take();
  } catch (const nlohmann::json::exception&) {
    return corrupt(where + ": not valid JSON");
  } catch (const std::bad_alloc&) {
    return io_error(where + ": not enough memory to read this JSON");
  }
}

Result<Json> read_json_file(const std::filesystem::path& path) {
  COLDPRESS_ASSIGN_OR_RETURN(const std::string text, read_text_file(path));
  return parse_json(text, path.string());
}

}  // namespace coldpress
