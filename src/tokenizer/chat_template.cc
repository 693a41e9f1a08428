#include "tokenizer/chat_template.h"

#include <fmt/format.h>
#include <jinja/lexer.h>
#include <jinja/parser.h>
#include <jinja/runtime.h>
#include <jinja/value.h>

#include <exception>
#include <string>
#include <string_view>

#include "io/json.h"
#include "tokenizer/isolated.h"

namespace coldpress {
namespace {

constexpr std::time_t kNoonOf26July2024 = 1721995200;
constexpr std::size_t kLongestTemplate = 1 << 20;

jinja::value to_jinja(const Json& json) {
  if (json.is_boolean()) return jinja::mk_val<jinja::value_bool>(json.get<bool>());
  if (json.is_number_integer()) return jinja::mk_val<jinja::value_int>(json.get<int64_t>());
  if (json.is_number_float()) return jinja::mk_val<jinja::value_float>(json.get<double>());
  if (json.is_string()) return jinja::mk_val<jinja::value_string>(json.get<std::string>());
  if (json.is_array()) {
    auto list = jinja::mk_val<jinja::value_array>();
    for (const Json& item : json) list->push_back(to_jinja(item));
    return list;
  }
  if (json.is_object()) {
    auto object = jinja::mk_val<jinja::value_object>();
    for (const auto& [key, value] : json.items()) object->insert(key, to_jinja(value));
    return object;
  }
  return jinja::mk_val<jinja::value_none>();
}

std::string render(const ChatTemplate& chat_template, const Json& chat) {
  jinja::lexer lexer;
  const jinja::lexer_result tokens = lexer.tokenize(chat_template.source);
  const jinja::program program = jinja::parse_from_tokens(tokens);
  jinja::context context(chat_template.source);
  context.current_time = kNoonOf26July2024;
  for (const auto& [name, text] : chat_template.special_tokens) {
    context.set_val(name, to_jinja(text));
  }
  context.set_val("messages", to_jinja(chat.at("messages")));
  context.set_val("tools", to_jinja(chat.value("tools", Json())));
  context.set_val("documents", to_jinja(nullptr));
  context.set_val("add_generation_prompt", to_jinja(false));
  jinja::runtime runtime(context);
  const jinja::value result = runtime.execute(program);
  return jinja::runtime::gather_string_parts(result)->as_string().str();
}

// The engine shows where in the template it stopped, over several lines, and the cause after
// "Error: ".
std::string cause_of(std::string what) {
  constexpr std::string_view kCause = "Error: ";
  if (const std::size_t at = what.rfind(kCause); at != std::string::npos) {
    what.erase(0, at + kCause.size());
  }
  return what.substr(0, what.find('\n'));
}

}  // namespace

Result<std::string> render_chat(const ChatTemplate& chat_template, const Json& chat) {
  const std::string& source = chat_template.source;
  if (source.empty()) {
    return not_found(fmt::format(
        "{} has no chat template, so it cannot write chats; give texts instead (lines of "
        "{{\"text\": \"...\"}})",
        chat_template.where));
  }
  if (source.size() > kLongestTemplate) {
    return corrupt(
        fmt::format("{}: a chat template of {} bytes", chat_template.where, source.size()));
  }
  // The first byte tells a text from an error.
  const auto work = [&]() -> std::string {
    try {
      return "+" + render(chat_template, chat);
    } catch (const std::exception& error) {
      return "-" + cause_of(error.what());
    }
  };
  auto out = run_isolated(work);
  if (!out.ok() || out->empty()) {
    return corrupt(fmt::format("{}: the chat template {}", chat_template.where,
                               out.ok() ? "gave nothing" : out.status().message()));
  }
  if (out->front() == '+') return out->substr(1);
  return corrupt(fmt::format("{}: the chat template refuses this chat: {}", chat_template.where,
                             out->substr(1)));
}

}  // namespace coldpress
