# Action Cable on puma: lets in who has the token, in the query or in Authorization. puma -b tcp://127.0.0.1:PORT cable.ru
require 'action_controller/railtie'
require 'action_cable/engine'

class Backend < Rails::Application
  config.root = __dir__
  config.eager_load = false
  config.logger = Logger.new(nil)
  config.secret_key_base = 'x' * 64
  config.action_cable.disable_request_forgery_protection = true
end

class Connection < ActionCable::Connection::Base
  def connect
    token = request.params[:token] || request.headers['Authorization'].to_s.delete_prefix('Bearer ')
    reject_unauthorized_connection unless token == 'good'
  end
end

Backend.initialize!
ActionCable.server.config.cable = { 'adapter' => 'async' }
ActionCable.server.config.connection_class = -> { Connection }
Backend.routes.draw do
  mount ActionCable.server => '/cable'
  get '/ready', to: ->(_) { [200, {}, ['ready']] }
end
run Backend
