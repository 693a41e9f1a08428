#include "calibration/records.h"

#include <fmt/format.h>

#include <limits>
#include <utility>

#include "io/json.h"
#include "io/show_name.h"

namespace coldpress {
namespace {

constexpr std::string_view kAccepted =
    R"({"text": "..."}, {"messages": [{"role": "...", "content": "..."}]}, )"
    R"({"tokens": [...]} or {"input_ids": [...]})";

const Json* member(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

// Text, or a list of parts with a type each, as multimodal chats write it.
bool is_content(const Json& content) {
  if (content.is_string()) return true;
  if (!content.is_array()) return false;
  for (const Json& part : content) {
    if (!part.is_object() || !part.contains("type") || !part["type"].is_string()) return false;
  }
  return true;
}

Status check_messages(const Json& messages, const std::string& where) {
  if (!messages.is_array() || messages.empty()) {
    return corrupt(where + ": \"messages\" is not a list of messages");
  }
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const Json& message = messages[i];
    const auto wrong = [&](std::string_view what) {
      return corrupt(fmt::format("{}: message {} {}", where, i + 1, what));
    };
    if (!message.is_object()) return wrong("is not an object");
    const Json* role = member(message, "role");
    if (role == nullptr || !role->is_string()) return wrong("has no \"role\"");
    const Json* content = member(message, "content");
    if (content == nullptr ? !message.contains("tool_calls") : !is_content(*content)) {
      return wrong("has no text as its \"content\"");
    }
  }
  return {};
}

Result<std::vector<int32_t>> read_ids(const Json& list, const std::string& key,
                                      const std::string& where) {
  if (!list.is_array()) return corrupt(fmt::format("{}: \"{}\" is not a list", where, key));
  std::vector<int32_t> ids;
  ids.reserve(list.size());
  for (const Json& id : list) {
    if (!id.is_number_integer() || id < 0 || id > std::numeric_limits<int32_t>::max()) {
      return corrupt(
          fmt::format("{}: entry {} of \"{}\" is not a token id", where, ids.size() + 1, key));
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

}  // namespace

std::string_view kind_name(Record::Kind kind) {
  switch (kind) {
    case Record::Kind::kText:
      return "texts";
    case Record::Kind::kChat:
      return "chats";
    case Record::Kind::kTokens:
      return "tokens";
  }
  return "";
}

Result<Record> parse_record(std::string_view line, const std::string& where) {
  COLDPRESS_ASSIGN_OR_RETURN(Json object, parse_json(line, where));
  if (!object.is_object()) {
    return corrupt(fmt::format("{}: not an object; a line must be {}", where, kAccepted));
  }
  std::string found;
  for (const char* key : {"text", "messages", "tokens", "input_ids"}) {
    if (member(object, key) == nullptr) continue;
    if (!found.empty()) {
      return corrupt(fmt::format("{}: the line has both \"{}\" and \"{}\"; which one is meant?",
                                 where, found, key));
    }
    found = key;
  }
  Record record;
  if (found.empty()) {
    std::string keys;
    for (const auto& [key, value] : object.items()) {
      if (keys.size() > 100) break;
      keys += (keys.empty() ? "" : ", ") + show_name(key);
    }
    return corrupt(fmt::format("{}: the line has {}; a line must be {}", where,
                               keys.empty() ? "nothing" : "only " + keys, kAccepted));
  }
  Json& value = object[found];
  if (found == "text") {
    if (!value.is_string()) return corrupt(where + ": \"text\" is not a string");
    record.text = std::move(value.get_ref<std::string&>());
  } else if (found == "messages") {
    record.kind = Record::Kind::kChat;
    COLDPRESS_RETURN_IF_ERROR(check_messages(value, where));
    record.chat["messages"] = std::move(value);
    if (const Json* tools = member(object, "tools")) record.chat["tools"] = *tools;
  } else {
    record.kind = Record::Kind::kTokens;
    COLDPRESS_ASSIGN_OR_RETURN(record.tokens, read_ids(value, found, where));
  }
  return record;
}

RecordReader::RecordReader(std::string_view bytes, std::string path)
    : rest_(bytes), path_(std::move(path)) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (rest_.starts_with(kByteOrderMark)) rest_.remove_prefix(kByteOrderMark.size());
}

Result<std::optional<Record>> RecordReader::next() {
  while (!rest_.empty()) {
    const std::size_t end = rest_.find('\n');
    const std::string_view line = rest_.substr(0, end);
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
    ++line_;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    COLDPRESS_ASSIGN_OR_RETURN(Record record,
                               parse_record(line, fmt::format("{}: line {}", path_, line_)));
    record.line = line_;
    return std::optional<Record>(std::move(record));
  }
  return std::optional<Record>();
}

}  // namespace coldpress
